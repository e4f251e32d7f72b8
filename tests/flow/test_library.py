# SPDX-License-Identifier: LGPL-2.1-or-later
"""libpostern as somebody else finds it: installed, linked with by programs that know nothing else of
Postern, and no guest in their process that takes what is theirs."""

import os
import re
import shlex
import subprocess
import textwrap

import pytest

import fake_vmm
from fake_fleet import fleet
from machine import ABSENT, BUILD, DONE, TIMED_OUT, USAGE

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SO = f"{BUILD}/libpostern.so.0"
HEADERS = [f"{BUILD}/include/postern/{name}.h" for name in ("postern", "disks", "client", "channel", "ride", "subscribe", "text")]
VERSION = "POSTERN_0.1"


def output(*words, code=0, **options):
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def declared():
    """{function: the comment above it}"""
    found = {}
    for path in HEADERS:
        with open(path) as file:
            text = file.read()
        for match in re.finditer(r"(/\*(?:(?!\*/).)*\*/\n)?^(?:const )?\w[\w ]*?[ *]+(postern_\w+)\([^;{]*\)[^;{]*;",
                                 text, re.M | re.S):
            found[match.group(2)] = match.group(1)
    return found


# ---- What it shows ----

def test_what_the_headers_declare_is_shown_and_nothing_else():
    shown = {line.split()[-1] for line in output("nm", "-D", "--defined-only", SO).splitlines()} - {VERSION}
    assert shown == {f"{name}@@{VERSION}" for name in declared()} and len(shown) > 50


def test_each_function_is_documented():
    silent = [name for name, comment in declared().items() if not comment]
    assert not silent


def test_who_is_linked_with_it_goes_on():
    """A difference that is meant: make abi, and look at what git says of it."""
    output("abidiff", "--headers-dir2", f"{BUILD}/include/postern", f"{ROOT}/tests/abi/libpostern.abi", SO)


def test_an_abi_that_differs_is_found(tmp_path):
    with open(f"{ROOT}/tests/abi/libpostern.abi") as file:
        text = file.read()
    changed, n = re.subn(r"(<data-member access='public' layout-offset-in-bits=')64('>\s*<var-decl name='sys_errno')",
                         r"\g<1>96\2", text)
    assert n == 1
    (tmp_path / "abi").write_text(changed)
    assert subprocess.run(["abidiff", str(tmp_path / "abi"), SO], capture_output=True).returncode != 0


# ---- What it leaves alone ----

def test_it_has_no_state():
    """What can be written in it is what the linker and the start-up code have there."""
    sections = {name: int(size, 16) for name, size in
                re.findall(r"\] (\.\S+) +\S+ +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+)", output("readelf", "-SW", SO))}
    assert sections[".data"] <= 8 and sections[".bss"] <= 8
    assert ".data.rel.ro" in sections and not {".tdata", ".tbss"} & set(sections)


def test_it_needs_no_call_that_changes_the_program():
    needed = {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--undefined-only", SO).splitlines()}
    assert "send" in needed
    # signal and sigprocmask are for children only, which the next test looks at.
    assert not needed & {"sigaction", "umask", "chdir", "fchdir", "setlocale", "setenv", "putenv", "unsetenv", "exit",
                         "abort", "atexit", "fork", "vfork", "pthread_create", "pthread_sigmask", "alarm", "setitimer",
                         "srand", "rand", "strtok", "localtime", "gmtime", "setrlimit", "setuid", "printf", "puts",
                         "perror", "syslog", "stdout", "stderr"}


STATE = """
    import ctypes, os, signal, sys
    postern = ctypes.CDLL(sys.argv[1], use_errno=True)
    address, name, folder = (word.encode() for word in sys.argv[2:5])

    def state():
        with open("/proc/self/status") as file:
            status = dict(line.split(":", 1) for line in file)
        mask = os.umask(0o123)
        os.umask(mask)
        return {**{key: status[key] for key in ("SigBlk", "SigIgn", "SigCgt", "Threads")}, "umask": mask,
                "cwd": os.getcwd(), "environ": dict(os.environ), "files": sorted(os.listdir("/proc/self/fd")),
                "children": [open(f"/proc/self/task/{task}/children").read() for task in os.listdir("/proc/self/task")],
                "locale": ctypes.CDLL(None).setlocale(6, None), "limit": os.sysconf("SC_OPEN_MAX")}

    told = []
    signal.signal(signal.SIGCHLD, lambda *_: told.append("SIGCHLD"))
    signal.signal(signal.SIGPIPE, lambda *_: told.append("SIGPIPE"))
    os.umask(0o027)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    before = state()
    error = ctypes.create_string_buffer(4096)
    pointer, number = ctypes.c_void_p(), ctypes.c_int(-1)
    # Launches a machine, which starts programs, and ends it again.
    launch = (ctypes.c_uint64 * 100)()
    words = [ctypes.create_string_buffer(word) for word in (name, folder + b"/kernel")]
    for at, word in (0, words[0]), (1, words[1]), (3, words[1]):
        launch[at] = ctypes.addressof(word)
    assert postern.postern_launch(launch, None, error) == 0, error.raw
    # Talks to it; the other side hangs up in the middle of what is said.
    assert postern.postern_console_open(name, True, ctypes.byref(number), error) == 0
    os.close(number.value)
    assert postern.postern_vm_address(name, ctypes.byref(pointer), error) == 0
    client = ctypes.c_void_p()
    assert postern.postern_client_open(pointer, None, ctypes.byref(client), error) == 0, error.raw
    libc = ctypes.CDLL(None)
    libc.free(pointer)
    text = ctypes.c_void_p()
    assert postern.postern_json_call(client, b"system.ping", None, 0, ctypes.byref(text), error) == 0, error.raw
    libc.free(text)
    how, ms = ctypes.create_string_buffer(16), ctypes.c_uint64()
    force = (ctypes.c_uint64 * 8)(1)
    assert postern.postern_stop(name, force, how, ctypes.byref(ms), error) == 0, error.raw
    call = ctypes.c_void_p(), ctypes.c_uint64()
    for i in range(3):
        assert postern.postern_json_call(client, b"system.ping", None, 0, ctypes.byref(text), error) < 0
    postern.postern_client_close(client)
    assert postern.postern_client_open(address, None, ctypes.byref(client), error) < 0
    assert postern.postern_list(None, ctypes.byref(pointer), ctypes.byref(ctypes.c_size_t()), error) == 0
    assert postern.postern_forget(name, error) == 0
    postern.postern_error_clear(error)
    after = state()
    assert after == before, (before, after)
    assert not told, told
    try:
        os.waitpid(-1, os.WNOHANG)
        raise SystemExit("a child was left")
    except ChildProcessError:
        pass
"""


def test_a_program_that_uses_it_stays_as_it_was(host, tmp_path):
    fake_vmm.launch(host, tmp_path, boot=0, hint=0.1)
    output("/usr/bin/python3", "-c", textwrap.dedent(STATE), SO, f"unix:{tmp_path}/nobody", "other", str(tmp_path),
           env=host.env)


def test_a_machine_inherits_nothing_of_its_launcher(host, tmp_path):
    """Neither its open files nor what it does with signals."""
    (tmp_path / "kernel").touch()
    fake_vmm.install(tmp_path, {"tcg": {"boot": 0, "hint": 0.1}}, host)
    file = os.open(tmp_path / "kernel", os.O_RDONLY)
    os.set_inheritable(file, True)
    program = ("import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
               "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); os.execv(sys.argv[1], sys.argv[1:])")
    output("/usr/bin/python3", "-c", program, host.postern, "launch", "web", "--kernel", f"{tmp_path}/kernel",
           "--initrd", f"{tmp_path}/kernel", env=host.env, close_fds=False)
    os.close(file)
    supervisor = host.supervisor("web")
    links = [os.readlink(f"/proc/{supervisor}/fd/{fd}") for fd in os.listdir(f"/proc/{supervisor}/fd")]
    assert str(tmp_path / "kernel") not in links
    with open(f"/proc/{supervisor}/status") as status:
        masks = {key: int(value, 16) for key, value in re.findall(r"^(Sig(?:Blk|Ign)):\s*(\w+)$", status.read(), re.M)}
    assert not masks["SigIgn"] & 1 << 14 and not masks["SigBlk"] & 1 << 9


# ---- Installed ----

@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A tree as make install-library makes it, and pkg-config for it."""
    tree = str(tmp_path_factory.mktemp("tree"))
    output("make", "-s", "install-library", f"B={BUILD}", f"DESTDIR={tree}", cwd=ROOT)
    env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=tree, LD_LIBRARY_PATH=f"{tree}/usr/lib",
               PKG_CONFIG_PATH=f"{tree}/usr/lib/pkgconfig")

    def flags(*words):
        return shlex.split(output("pkg-config", *words, "libpostern", env=env))
    return tree, env, flags


SOURCE = """
    #include <postern/postern.h>
    #include <cstdio>
    #include <cstring>

    static_assert(sizeof(postern_error::message) == 512, "");
    static void on_reply(void *, const postern_error *, const uint8_t *, size_t, bool) {}

    int main()
    {
        postern_error error = {};
        postern_launch launch = {};
        postern_options options = {};
        postern_client *client = nullptr;
        char text[16];
        options.name = "c++";
        launch.name = "Bad Name";
        int r = postern_launch(&launch, nullptr, &error);
        std::printf("%d %s\\n", r, error.message);
        r = postern_client_open("unix:/nobody", &options, &client, &error);
        std::printf("%d %d\\n", r, error.failure == POSTERN_ABSENT);
        postern_error_clear(&error);
        uint64_t id;
        (void)&on_reply; (void)id;
        postern_escape("a\\033[1m", 5, text, sizeof(text));
        std::printf("%s %s %s\\n", text, postern_version(), postern_vm_status_name(POSTERN_VM_FAILED));
    }
"""


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_a_program_in_cpp(installed, tmp_path, standard):
    tree, env, flags = installed
    source = tmp_path / "program.cc"
    # A structure and a function share a name, as stat() and struct stat do: C++ wants to be told.
    source.write_text(textwrap.dedent(SOURCE).replace("postern_launch launch =", "struct postern_launch launch ="))
    output("g++", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", f"{tmp_path}/program",
           str(source), *flags("--cflags", "--libs"))
    lines = output(f"{tmp_path}/program", env=env).splitlines()
    assert lines[0].startswith("-22 a VM's name has") and lines[1] == "-2 1"
    assert lines[2] == "a\\x1b[1m 0.1.0 Failed"


@pytest.mark.parametrize("standard", ["c99", "gnu17"])
def test_each_header_by_itself(installed, tmp_path, standard):
    tree, _, flags = installed
    for header in os.listdir(f"{tree}/usr/include/postern"):
        source = tmp_path / "source.c"
        source.write_text(f"#include <postern/{header}>\nint main(void) {{ return 0; }}\n")
        output("gcc", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror", "-c",
               "-o", "/dev/null", str(source), *flags("--cflags"))


def test_the_static_archive(installed, tmp_path):
    tree, env, flags = installed
    # None of our own names is in the way of one of the program's: it may have a fail() of its own.
    shown = {line.split()[-1] for line in output("nm", "-g", "--defined-only", f"{tree}/usr/lib/libpostern.a").splitlines()
             if len(line.split()) == 3}
    assert shown == set(declared())
    source = tmp_path / "own.c"
    source.write_text("int fail(void); int fail(void) { return 7; }\n")
    libs = [f"{tree}/usr/lib/libpostern.a" if word == "-lpostern" else word for word in flags("--static", "--libs")]
    output("gcc", "-o", f"{tmp_path}/blocking", f"{ROOT}/host/examples/blocking.c", str(source), *flags("--cflags"), *libs)
    env = {key: value for key, value in env.items() if key != "LD_LIBRARY_PATH"}
    assert "libpostern" not in output("ldd", f"{tmp_path}/blocking")
    done = subprocess.run([f"{tmp_path}/blocking", "unix:/nobody", "system.ping"], env=env, capture_output=True, text=True)
    assert done.returncode == ABSENT and "/nobody" in done.stderr


def test_the_protocol_comes_along(installed):
    tree, *_ = installed
    protos = os.listdir(f"{tree}/usr/share/postern/proto")
    assert "envelope.proto" in protos and "mounts.proto" in protos
    assert os.path.exists(f"{tree}/usr/share/man/man3/libpostern.3")


# ---- The examples ----

def example(name, *words, code=DONE, **options):
    done = subprocess.run([f"{BUILD}/examples/{name}", *map(str, words)], capture_output=True, text=True, timeout=120,
                          **options)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_blocking(agent):
    address = f"local:{agent.socket}"
    assert '"time_ns"' in example("blocking", address, "system_load.current")[0]
    out, _ = example("blocking", address, "mounts.list", '{"target": "/proc"}')
    assert '"/proc"' in out
    _, err = example("blocking", address, "no.method", code=USAGE)
    assert err == "no.method: no such method\n"
    _, err = example("blocking", address, "mounts.list", "{", code=USAGE)
    assert "not JSON" in err
    example("blocking", "nobody", "system.ping", code=ABSENT, env=dict(os.environ, POSTERN_RUNTIME_DIR="/tmp/none-here"))


def test_ready(host, tmp_path):
    fake_vmm.launch(host, tmp_path, "--detach", boot=1.5, hint=1.6)
    out, _ = example("ready", "web", 30, env=host.env)
    assert out.startswith("agent 1\n{") and host.info("web")["state"] == "ready"
    # It is so already.
    assert example("ready", "web", 30, env=host.env)[0] == out
    host.run("stop", "-f", "web")
    example("ready", "web", 30, env=host.env, code=ABSENT)


def test_ready_in_time_or_not(host, tmp_path):
    fake_vmm.launch(host, tmp_path, "--detach")
    _, err = example("ready", "web", 1, env=host.env, code=TIMED_OUT)
    assert err == "web was not ready in time\n"
    waiting = subprocess.Popen([f"{BUILD}/examples/ready", "web", "30"], env=host.env, stderr=subprocess.PIPE, text=True)
    host.run("stop", "-f", "web")
    # It may end before it is asked.
    assert waiting.communicate(timeout=20)[1] in ("web has ended\n", "the supervisor of the VM ended\n")
    assert waiting.returncode == ABSENT


def numbers(line):
    words = line.split()
    return dict(zip(words[::2], map(float, words[1::2])))


@pytest.mark.parametrize("guests,calls", [(200, 10), (1000, 5)])
def test_many_guests_in_one_loop(tmp_path, capsys, guests, calls):
    """Two hundred; and a thousand connections of one process on two cores."""
    with fleet(f"{tmp_path}/vsock.sock") as served:
        out, _ = example("fleet", guests, calls, f"unix:{tmp_path}/vsock.sock")
    result = numbers(out)
    with capsys.disabled():
        print(f"\n{out.strip()}")
    assert served.most == guests and served.requests == guests * calls
    assert result["answers"] == guests * calls and result["lost"] == 0
    assert result["cpu"] < 10 and result["memory_kib"] < 65536


def test_guests_that_go_are_lost_alone(tmp_path):
    """Half of the addresses have nobody behind them."""
    with fleet(f"{tmp_path}/vsock.sock"):
        out, err = example("fleet", 20, 3, f"unix:{tmp_path}/vsock.sock", f"unix:{tmp_path}/nobody", code=ABSENT)
    assert "nobody" in err and numbers(out)["answers"] in (0, 30)
