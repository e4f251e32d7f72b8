# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QEMU and a postern-vsockd that only talk: QMP on one side, a guest's vsock on the other. With them the
supervisor, the readiness protocol and the choice of acceleration are tested in milliseconds.

  fake_vmm.py qemu|vsockd FOLDER ARGUMENT...

FOLDER/guest.json says how the guest is, for each acceleration:
  boot     seconds until its agent listens (absent: it never does)
  hint     seconds until it says that it is ready (absent: it says nothing)
  exit     QEMU ends at once with this code
  mount    what its agent does to mount a share: "lost" mounts it and hangs up; "killed" mounts it, records
           nothing, and answers with an error (absent: it mounts and answers)
  silent   QEMU's monitor does not answer these commands until it gets SIGUSR2
  refuses  QEMU refuses to leave the guest less than so many bytes
  driver   how many bytes the balloon moves between two looks at it (absent: all at once)
  clock    by how many seconds its clock is ahead of ours (absent: it tells no time)
  say      what the guest writes to its console when it boots
FOLDER/now.json, where it is, says how things are from now on:
  fails    QEMU refuses these commands: {"device_add": "why"}
  hush     QEMU's monitor does not answer these commands, ever
  keeps    the guest lets no device go: QEMU never says DEVICE_DELETED
  disks    what its agent sees: [{"name": "vda", "serial": "disk8", "size": 1048576}]
  refuses  its agent answers these methods with an error, and has done nothing: {"mounts.mount": "why"}
  lost     its agent does what these methods ask for, and hangs up: ["mounts.mount"]
  killed   its agent does what these methods ask for, and answers with an error
At its console it writes what is typed, and does what a line of it says:
  flood N  writes N bytes, in numbered lines
  deaf     reads nothing any more
  panic    ends, and QEMU with it
A virtio console is another such, which says "hvc0" first. It has a sound device where FOLDER/sound is there.
On SIGRTMIN the guest falls asleep, and on SIGUSR1 it boots again.
FOLDER/log has a line for everything that happened."""

import json
import os
import signal
import socket
import sys
import threading
import time

MONITOR, CONSOLE, VSOCK = 3, 4, 5
READY_PORT = 7670


def note(folder, *words):
    with open(f"{folder}/log", "a") as log:
        log.write(f"{time.monotonic():.3f} {' '.join(map(str, words))}\n")


def now(folder):
    """How things are at the moment."""
    try:
        with open(f"{folder}/now.json") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def from_now_on(folder, **how):
    """Sets it, in one step."""
    with open(f"{folder}/now.json.new", "w") as file:
        json.dump(how, file)
    os.rename(f"{folder}/now.json.new", f"{folder}/now.json")


def numbered_lines(size):
    """Bytes of which each says where it belongs."""
    return b"".join(b"%09d\r\n" % i for i in range(size // 11 + 1))[:size]


def serve_console(sock, folder):
    line = b""
    while data := sock.recv(65536):
        sock.sendall(data)
        line += data
        while (end := line.find(b"\n")) >= 0:
            word, _, number = line[:end].strip().partition(b" ")
            line = line[end + 1:]
            if word == b"flood":
                sock.sendall(numbered_lines(int(number)))
                note(folder, "flooded")
            elif word == b"deaf":
                threading.Event().wait()
            elif word == b"panic":
                os._exit(1)


def qemu(folder, *argv):
    if argv[:2] == ("-device", "virtio-sound-pci,help"):
        if os.path.exists(f"{folder}/sound"):
            print("virtio-sound-pci options:\n  audiodev=<str>")
        else:
            print("qemu: -device virtio-sound-pci,help: Device 'virtio-sound-pci' not found", file=sys.stderr)
        return
    machine = next(argv[i + 1] for i, word in enumerate(argv) if word == "-machine")
    accel = next(part.removeprefix("accel=") for part in machine.split(",") if part.startswith("accel="))
    with open(f"{folder}/guest.json") as file:
        guest = json.load(file)[accel]
    note(folder, "qemu", accel)
    if "exit" in guest:
        print("no such acceleration", file=sys.stderr)
        sys.exit(guest["exit"])
    # A machine may have no vsock device: then nobody hears of the boot.
    nobody = socket.socketpair()
    has_vsock = any(word.startswith(("vhost-user-vsock-pci", "vhost-vsock-pci")) for word in argv)
    device = socket.socket(fileno=VSOCK) if has_vsock else nobody[0]
    monitor = socket.socket(fileno=MONITOR)
    console = socket.socket(fileno=CONSOLE)
    console.sendall(guest.get("say", "").encode())
    threading.Thread(target=serve_console, args=(console, folder), daemon=True).start()
    hvc = next((word.rsplit("=", 1)[1] for word in argv if word.startswith("socket,id=hvc0,fd=")), None)
    if hvc:
        second = socket.socket(fileno=int(hvc))
        second.sendall(b"hvc0\n")
        threading.Thread(target=serve_console, args=(second, folder), daemon=True).start()
    out = monitor.makefile("w")

    def boot(*_):
        device.sendall(json.dumps(guest).encode() + b"\n")

    def say(message):
        out.write(json.dumps(message) + "\n")
        out.flush()

    def reset(*_):
        say({"event": "RESET", "data": {"guest": True, "reason": "guest-reset"}, "timestamp": {"seconds": 0}})
        boot()
    signal.signal(signal.SIGUSR1, reset)
    late = []
    balloon = {"actual": 256 << 20, "wanted": 256 << 20}

    def inflate():
        step = guest.get("driver", 1 << 40)
        away = balloon["wanted"] - balloon["actual"]
        balloon["actual"] += max(-step, min(step, away))
        return {"actual": balloon["actual"]}

    def answer(request):
        result, how = {}, now(folder)
        if request["execute"] in how.get("fails", {}):
            say({"error": {"class": "GenericError", "desc": how["fails"][request["execute"]]}, "id": request.get("id")})
            return
        if request["execute"] == "query-status":
            result = {"status": "running"}
        elif request["execute"] == "balloon" and request["arguments"]["value"] < guest.get("refuses", 0):
            say({"error": {"class": "GenericError", "desc": "not now"}, "id": request.get("id")})
            return
        elif request["execute"] == "balloon":
            balloon["wanted"] = request["arguments"]["value"]
        elif request["execute"] == "query-balloon":
            result = inflate()
        say({"return": result, "id": request.get("id")})
        if request["execute"] == "system_wakeup":
            say({"event": "WAKEUP", "timestamp": {"seconds": 0}})
        if request["execute"] == "device_del" and not how.get("keeps"):
            say({"event": "DEVICE_DELETED", "data": {"device": request["arguments"]["id"]},
                 "timestamp": {"seconds": 0}})

    def fall_asleep(*_):
        say({"event": "SUSPEND", "timestamp": {"seconds": 0}})
    signal.signal(signal.SIGRTMIN, fall_asleep)

    def wake(*_):
        guest["silent"] = ()
        for request in late:
            answer(request)
    signal.signal(signal.SIGUSR2, wake)
    boot()
    say({"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}, "capabilities": []}})
    for line in monitor.makefile("r"):
        request = json.loads(line)
        if request["execute"].startswith(("device_", "chardev-remove", "stop", "cont", "system_", "blockdev-", "block_")):
            note(folder, request["execute"])
        if request["execute"] in now(folder).get("hush", ()):
            continue
        if request["execute"] in guest.get("silent", ()):
            late.append(request)
            continue
        answer(request)
        if request["execute"] == "quit":
            say({"event": "SHUTDOWN", "data": {"guest": False, "reason": "host-qmp-quit"}, "timestamp": {"seconds": 0}})
            return


class Guest:
    """What is behind the vsock device."""

    def __init__(self, folder, path):
        self.folder = folder
        self.path = path
        self.listens_at = None
        self.boots = 0
        self.mounts = {}

    def boot(self, guest):
        self.boots += 1
        self.how = guest.get("mount")
        self.clock = guest.get("clock")
        self.mounts = {b"/taken": b"other"}
        now = time.monotonic()
        self.listens_at = now + guest["boot"] if guest.get("boot") is not None else None
        if guest.get("hint") is not None:
            threading.Timer(guest["hint"], self.hint).start()

    def hint(self):
        from wire import frame, pb
        note(self.folder, "hint")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{self.path}_{READY_PORT}")
            sock.sendall(frame(pb.Ready(agent_version="1", boot_id=bytes(16)).SerializeToString()))

    def serve(self, sock):
        from fake_agent import Peer
        from wire import Closed, pb
        line = sock.makefile("rb", buffering=0).readline()
        listens = self.listens_at is not None and time.monotonic() >= self.listens_at
        note(self.folder, line.decode().strip(), "answered" if listens else "refused")
        if not listens:
            sock.close()
            return
        sock.sendall(b"OK 1024\n")
        with Peer(sock) as peer:
            try:
                peer.take()
                peer.say(hello_reply=pb.HelloReply(major=1, minor=0, agent_version="1", identity="host",
                                                   boot_id=bytes([self.boots] * 16), max_frame=1 << 20))
                while True:
                    message = peer.take()
                    if message.HasField("request"):  # what is taken back has been answered
                        self.answer(peer, message.request)
            except (Closed, OSError):
                pass

    def wait_for_disk(self, serial, seconds):
        until = time.monotonic() + seconds
        while True:
            for disk in now(self.folder).get("disks", ()):
                if disk["serial"] == serial:
                    return disk
            if time.monotonic() >= until:
                return None
            time.sleep(0.01)

    def answer(self, peer, request):
        """The methods that mount and unmount, with a mount table that stays when a connection goes."""
        from wire import Closed, errors, message, messages_of, pb
        params = message(request.method, "Request").FromString(request.params)
        target = getattr(params, "target", b"")
        if request.method != "time.get":  # asked by who only looks
            note(self.folder, request.method, target.decode())
        reply = message(request.method, "Reply")()
        how = now(self.folder)
        if request.method in how.get("refuses", {}):
            peer.say(response=pb.Response(id=request.id, error=errors.Error(
                code=errors.FAILED_PRECONDITION, sys_errno=16, outcome=errors.NOT_DONE,
                message=how["refuses"][request.method])))
            return
        if request.method == "mounts.mount" and params.HasField("source_serial"):
            disk = self.wait_for_disk(params.source_serial.decode(), params.wait_ms / 1000)
            if not disk:
                peer.say(response=pb.Response(id=request.id, error=errors.Error(
                    code=errors.NOT_FOUND, outcome=errors.NOT_DONE, message="no such disk, although waited for")))
                return
            self.mounts[target] = reply.mount.source = f"/dev/{disk['name']}".encode()
            reply.source_size = disk["size"]
        elif request.method == "mounts.mount":
            self.mounts[target] = params.source
        elif request.method == "mounts.unmount":
            self.mounts.pop(target, None)
        elif request.method == "disks.list_disks":
            for disk in how.get("disks", ()):
                places = [place for place, source in self.mounts.items() if source == f"/dev/{disk['name']}".encode()]
                reply.disks.add(name=disk["name"].encode(), serial=disk["serial"].encode(), size=disk["size"],
                                mounted_at=places)
        if request.method in how.get("lost", ()):
            raise Closed
        if request.method in how.get("killed", ()):
            peer.say(response=pb.Response(id=request.id, error=errors.Error(
                code=errors.DEADLINE_EXCEEDED, message="killed", outcome=errors.DONE)))
            return
        if request.method == "shares.mount":
            self.mounts.setdefault(target, params.source)
            if self.how == "lost":
                raise Closed
            if self.how == "killed":
                peer.say(response=pb.Response(id=request.id, error=errors.Error(
                    code=errors.DEADLINE_EXCEEDED, message="killed", outcome=errors.DONE)))
                return
        elif request.method == "time.get" and self.clock is not None:
            reply.time_ns = time.time_ns() + int(self.clock * 1e9)
        elif request.method == "mounts.list" and target in self.mounts:
            reply.mounts.add(target=target, source=self.mounts[target], type=b"virtiofs",
                             state=messages_of("mounts").MOUNTED)
        elif request.method == "shares.unmount" and self.how == "killed":
            peer.say(response=pb.Response(id=request.id, error=errors.Error(
                code=errors.NOT_FOUND, sys_errno=2, message="no record")))
            return
        elif request.method.endswith(".unmount"):
            self.mounts.pop(target, None)
        peer.reply(request, reply)


def vsockd(folder, *argv):
    path = next(word.removeprefix("--uds=") for word in argv if word.startswith("--uds="))
    guest = Guest(folder, path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)

    def follow():
        for line in socket.socket(fileno=3).makefile("r"):
            guest.boot(json.loads(line))
        os._exit(0)
    threading.Thread(target=follow, daemon=True).start()
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=guest.serve, args=(sock,), daemon=True).start()


def install(folder, guest, host):
    """Writes both programs into the folder, and has the host take them. guest: as above."""
    build = os.environ.get("POSTERN_BUILD", "build")
    virtiofsd = f"{folder}/virtiofsd"
    if not os.path.exists(virtiofsd):
        with open(virtiofsd, "w") as file:
            file.write("#!/bin/sh\nexec sleep 1000\n")
        os.chmod(virtiofsd, 0o755)
    host.env["POSTERN_VIRTIOFSD"] = virtiofsd
    for name in ("qemu", "vsockd"):
        program = f"{folder}/{'postern-vsockd' if name == 'vsockd' else name}"
        if os.path.exists(program):
            continue  # a new one would be another QEMU
        with open(program, "w") as file:
            file.write(f"#!/bin/sh\nexport POSTERN_BUILD={os.path.abspath(build)}\n"
                       f'exec /usr/bin/python3 -B {os.path.abspath(__file__)} {name} {folder} "$@"\n')
        os.chmod(program, 0o755)
    with open(f"{folder}/guest.json", "w") as file:
        json.dump(guest, file)
    host.env["POSTERN_QEMU"] = f"{folder}/qemu"
    host.env["POSTERN_LIBEXEC_DIR"] = str(folder)


def launch(host, folder, *options, code=0, **guest):
    """Launches a guest `web` that only talks, under emulation; folder has what it needs. (stdout, stderr)"""
    (folder / "kernel").touch()
    install(folder, {"tcg": guest}, host)
    return host.run("launch", "web", "--kernel", f"{folder}/kernel", "--initrd", f"{folder}/kernel", *options,
                    code=code)


def events(folder):
    """What happened, without times."""
    with open(f"{folder}/log") as log:
        return [line.split(" ", 1)[1].strip() for line in log]


if __name__ == "__main__":
    {"qemu": qemu, "vsockd": vsockd}[sys.argv[1]](*sys.argv[2:])
