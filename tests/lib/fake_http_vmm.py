# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Firecracker and a Cloud Hypervisor that only talk: their HTTP interface, by their own published descriptions
(openapi.py), and what is behind their vsock device. The supervisor runs them as the VMM.

  fake_http_vmm.py firecracker|cloud-hypervisor FOLDER ARGUMENT...

FOLDER/guest.json says how the guest is: boot, hint and mount as in fake_vmm.py; stuck: it ignores its agent's
shutdown and the power button; keeps: it lets no device go.
FOLDER/answers.json says what some requests are answered with, by operation ("PUT /vm.pause"):
  status, body   this status, with this text
  raw            these bytes, and the end of the connection
  skip           after so many that are answered as ever
  times          so often (absent: always)
FOLDER/log has a line for everything that happened: an accepted request is METHOD PATH BODY; what the description
does not have, or what the VMM would not do now, is a line that begins with REFUSED.

The console echoes what is typed. SIGUSR1: the guest resets itself; SIGUSR2: it switches itself off."""

import http.server
import json
import os
import signal
import socket
import socketserver
import sys
import threading

import fake_vmm
import openapi
from fake_vmm import Guest, note

MIB = 1 << 20


class Refused(Exception):
    """What the VMM answers with an error that its description has."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class VsockGuest(Guest):
    """The guest, whose agent can end the VMM."""

    def __init__(self, vmm, path):
        super().__init__(vmm.folder, path)
        self.vmm = vmm

    def answer(self, peer, request):
        from wire import message
        if request.method == "disks.list_disks":
            reply = message(request.method, "Reply")()
            for number, (serial, size) in enumerate(self.vmm.sizes.items()):
                reply.disks.add(name=b"vd%c" % (0x62 + number), serial=serial.encode(), size=size)
            peer.reply(request, reply)
            return
        if request.method != "power.shutdown":
            super().answer(peer, request)
            return
        mode = message(request.method, "Request").FromString(request.params).mode
        note(self.folder, "power.shutdown", mode)
        peer.reply(request, message(request.method, "Reply")())
        if not self.vmm.how.get("stuck"):
            self.vmm.guest_ends(rebooting=mode == 2)


class Vmm:
    """What both have in common. handle() is called for each request that the description has."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.description = openapi.Description(name)
        self.how = {}
        self.running = self.paused = False
        self.balloon = 0
        self.guest = None

    def read(self, name):
        try:
            with open(f"{self.folder}/{name}") as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def start_guest(self, vsock_path, booted):
        """Binds the vsock socket, as a device does, and starts what is behind it."""
        self.how = self.read("guest.json")
        self.running = True
        self.guest = VsockGuest(self, vsock_path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(vsock_path)
        listener.listen(8)
        threading.Thread(target=self.serve_vsock, args=(listener,), daemon=True).start()
        threading.Thread(target=self.echo, daemon=True).start()
        print("the guest boots" if booted else "the guest goes on", flush=True)
        # One that was saved has told its agent's host long ago.
        self.guest.boot(self.how if booted else {**self.how, "hint": None})

    def serve_vsock(self, listener):
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=self.guest.serve, args=(sock,), daemon=True).start()

    @staticmethod
    def echo():
        for line in sys.stdin:
            print(f"typed: {line.strip()}", flush=True)

    def end(self):
        note(self.folder, "end")
        os._exit(0)

    def answer(self, method, target, body):
        """(status, JSON) for a request."""
        try:
            operation = self.description.find(method, target)
            self.description.check_request(operation, body)
        except openapi.Invalid as error:
            note(self.folder, "REFUSED", error)
            return 400, self.error(str(error))
        path = target.removeprefix(self.description.base)
        try:
            result = self.handle(method, path, body or {})
        except Refused as error:
            note(self.folder, "REFUSED", method, path, error)
            status, result = error.status, self.error(str(error))
        else:
            note(self.folder, method, path, *([json.dumps(body)] if body is not None else []))
            status = 204 if result is None else 200
        self.description.check_answer(operation, status, result)
        return status, result


class Firecracker(Vmm):
    def __init__(self, folder, argv):
        super().__init__("firecracker", folder)
        options = dict(zip(argv[::2], argv[1::2]))
        assert set(options) == {"--api-sock", "--log-path", "--level"}, argv
        with open(options["--log-path"], "r+b", 0) as log:
            log.write(b"firecracker's log\n")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(options["--api-sock"])
        self.config = {}
        self.interval = 0
        self.plugged = 0

    @staticmethod
    def error(text):
        return {"fault_message": text}

    def guest_ends(self, rebooting):
        if rebooting:  # that is how it ends; switched off it would stand still for ever
            self.end()

    def handle(self, method, path, body):
        if method == "GET" and path == "/version":
            return {"firecracker_version": "1.17.0-dev"}
        if method == "PUT" and path in ("/machine-config", "/boot-source", "/drives/disk0", "/balloon", "/entropy",
                                        "/vsock", "/hotplug/memory"):
            if self.running:
                raise Refused(400, "The requested operation is not supported after starting the microVM.")
            self.config[path] = body
            return None
        if path == "/snapshot/load":
            return self.load(body)
        if path == "/actions":
            return self.act(body["action_type"])
        if not self.running:
            raise Refused(400, "The requested operation is not supported before starting the microVM.")
        if path == "/vm":
            self.paused = body["state"] == "Paused"
            return None
        if path == "/snapshot/create":
            return self.save(body)
        if path == "/balloon":
            self.balloon = body["amount_mib"]
            return None
        if (method, path) == ("PATCH", "/balloon/statistics"):
            if self.interval == 0 or body["stats_polling_interval_s"] == 0:
                raise Refused(400, "Statistics cannot be turned on/off after boot.")
            self.interval = body["stats_polling_interval_s"]
            return None
        if (method, path) == ("GET", "/balloon/statistics"):
            return {"target_pages": self.balloon * 256, "actual_pages": self.balloon * 256, "target_mib": self.balloon,
                    "actual_mib": self.balloon, "free_memory": 100 * MIB, "total_memory": 200 * MIB,
                    "major_faults": self.interval}
        if path == "/hotplug/memory":
            return self.plug(method, body)
        raise Refused(500, f"this one does not do {method} {path}")

    def plug(self, method, body):
        device = self.config.get("/hotplug/memory")
        if not device:
            raise Refused(400, "No memory hotplug device was configured.")
        if method == "PATCH":
            self.plugged = body["requested_size_mib"]
            return None
        return {"total_size_mib": device["total_size_mib"], "slot_size_mib": device.get("slot_size_mib", 128),
                "block_size_mib": device.get("block_size_mib", 2), "plugged_size_mib": self.plugged // 2,
                "requested_size_mib": self.plugged}

    def act(self, action):
        if action == "SendCtrlAltDel":
            if not self.how.get("stuck"):
                threading.Timer(0.05, self.end).start()
        elif self.running or not {"/boot-source", "/machine-config", "/vsock"} <= set(self.config):
            raise Refused(400, "Cannot start microvm: its boot source, or something else, is missing.")
        else:
            self.interval = self.config["/balloon"]["stats_polling_interval_s"]
            self.start_guest(self.config["/vsock"]["uds_path"], booted=True)

    def save(self, body):
        if not self.paused:
            raise Refused(400, "Cannot save a microVM that runs.")
        with open(body["snapshot_path"], "x") as file:
            json.dump(self.config, file)
        with open(body["mem_file_path"], "x") as file:
            file.write("memory")

    def load(self, body):
        if self.running or self.config:
            raise Refused(400, "Loading a microVM snapshot not allowed after configuring boot-specific resources.")
        with open(body["snapshot_path"]) as state, open(body["mem_backend"]["backend_path"]) as memory:
            self.config = json.load(state)
            assert memory.read() == "memory"
        self.interval = self.config["/balloon"]["stats_polling_interval_s"]
        self.start_guest(body["vsock_override"]["uds_path"], booted=False)


class CloudHypervisor(Vmm):
    def __init__(self, folder, argv):
        super().__init__("cloud-hypervisor", folder)
        options = dict(zip(argv[::2], argv[1::2]))
        assert set(options) == {"--api-socket", "--event-monitor"}, argv
        self.listener = socket.socket(fileno=int(options["--api-socket"].removeprefix("fd=")))
        self.events = open(int(options["--event-monitor"].removeprefix("fd=")), "w")
        # Without a terminal it takes no input for a serial port of the mode Tty.
        assert os.isatty(0) and os.isatty(1)
        self.config = None
        self.sizes = {}  # of the disks that the guest sees
        self.event("vmm", "starting")

    @staticmethod
    def error(text):
        return ["Error from API", text]

    def event(self, source, name, **properties):
        self.events.write(json.dumps({"timestamp": {"secs": 0, "nanos": 1}, "source": source, "event": name,
                                      "properties": properties or None}, indent=2) + "\n\n")
        self.events.flush()

    def guest_ends(self, rebooting):
        if rebooting:
            self.event("vm", "rebooting")
            self.guest.boot(self.how)
            self.event("vm", "rebooted")
        else:
            self.end()

    def handle(self, method, path, body):
        action = path.removeprefix("/").replace(".", "_").replace("-", "_")
        if action.startswith("vm_") and action not in ("vm_create", "vm_restore") and not self.config:
            raise Refused(404, "VM is not created")
        return getattr(self, action)(**body)

    def vmm_ping(self):
        return {"version": "50.0", "pid": os.getpid(), "features": []}

    def vmm_shutdown(self):
        threading.Timer(0.05, self.end).start()

    def vm_create(self, **config):
        self.config = config

    def vm_boot(self):
        assert self.config["serial"] == {"mode": "Tty"} and self.config["console"] == {"mode": "Off"}
        for share in self.config.get("fs", ()):
            self.connect(share)
        self.start_guest(self.config["vsock"]["socket"], booted=True)
        self.event("vm", "booted")

    def vm_info(self):
        return {"config": self.config, "state": "Paused" if self.paused else "Running",
                "memory_actual_size": self.config["memory"]["size"] + self.config["memory"].get("hotplugged_size", 0)
                - self.balloon,
                "device_tree": {share["id"]: {"id": share["id"]} for share in self.config.get("fs", ())}}

    def vm_pause(self):
        if self.paused:
            raise Refused(405, "VM is not running")
        self.paused = True
        self.event("vm", "paused")

    def vm_resume(self):
        if not self.paused:
            raise Refused(405, "VM is not paused")
        self.paused = False

    def vm_power_button(self):
        if not self.how.get("stuck"):
            threading.Timer(0.05, self.end).start()

    def vm_resize(self, desired_balloon=None, desired_ram=None):
        if desired_ram is not None:
            memory = self.config["memory"]
            plugged = desired_ram - memory["size"]
            if memory.get("hotplug_method") != "VirtioMem" or not 0 <= plugged <= memory["hotplug_size"]:
                raise Refused(500, "Failed resizing memory")
            memory["hotplugged_size"] = plugged
        if desired_balloon is not None:
            self.balloon = desired_balloon
            self.config["balloon"]["size"] = desired_balloon

    @staticmethod
    def connect(share):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(share["socket"])

    def vm_add_fs(self, **share):
        shares = self.config.setdefault("fs", [])
        if any(other["id"] == share["id"] for other in shares):
            raise Refused(409, "a device with the same identifier already exists")
        self.connect(share)
        shares.append(share)
        return {"id": share["id"], "bdf": "0000:00:07.0"}

    def vm_add_disk(self, **disk):
        disks = self.config.setdefault("disks", [])
        if any(other["id"] == disk["id"] for other in disks):
            raise Refused(409, "a device with the same identifier already exists")
        disks.append(disk)
        self.sizes[disk["id"]] = os.path.getsize(disk["path"])
        return {"id": disk["id"], "bdf": "0000:00:08.0"}

    def vm_resize_disk(self, id, desired_size):
        if id not in self.sizes:
            raise Refused(404, f"no disk {id}")
        self.sizes[id] = desired_size

    def vm_remove_device(self, id):
        if not any(device["id"] == id for kind in ("fs", "disks") for device in self.config.get(kind, ())):
            raise Refused(404, f"no device {id}")
        if not self.how.get("keeps"):
            threading.Timer(0.05, self.ejected, (id,)).start()

    def ejected(self, device):
        for kind in ("fs", "disks"):
            self.config[kind] = [other for other in self.config.get(kind, ()) if other["id"] != device]
        note(self.folder, "ejected", device)
        self.event("vm", "device-removed", id=device, bdf="0000:00:07.0")

    def vm_snapshot(self, destination_url):
        if not self.paused:
            raise Refused(405, "VM is not paused")
        folder = destination_url.removeprefix("file://")
        for name, content in (("config.json", self.config), ("state.json", {}), ("memory-ranges", "memory")):
            with open(f"{folder}/{name}", "x") as file:
                json.dump(content, file)

    def vm_restore(self, source_url):
        folder = source_url.removeprefix("file://")
        with open(f"{folder}/config.json") as config, open(f"{folder}/state.json"), \
                open(f"{folder}/memory-ranges") as memory:
            self.config = json.load(config)
            assert json.load(memory) == "memory"
        self.paused = True
        self.start_guest(self.config["vsock"]["socket"], booted=False)
        self.event("vm", "restored")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_request(self):
        vmm = self.server.vmm
        length = self.headers.get("Content-Length")
        text = self.rfile.read(int(length)) if length else b""
        assert self.headers["Transfer-Encoding"] is None and self.headers["Expect"] is None
        if text:
            assert self.headers["Content-Type"] == "application/json"
        body = json.loads(text) if text else None
        canned = self.canned(vmm)
        if canned is None:
            status, result = vmm.answer(self.command, self.path, body)
            self.reply(status, "" if result is None else json.dumps(result))
            return
        note(vmm.folder, "CANNED", self.command, self.path)
        if "raw" in canned:
            self.wfile.write(canned["raw"].encode("latin1"))
            self.close_connection = True
        else:
            self.reply(canned["status"], canned.get("body", ""))

    def canned(self, vmm):
        answers = vmm.read("answers.json")
        name = f"{self.command} {self.path.removeprefix(vmm.description.base)}"
        answer = answers.get(name)
        if answer and answer.get("skip"):
            answer["skip"] -= 1
            script(vmm.folder, **answers)
            return None
        if answer and "times" in answer:
            answer["times"] -= 1
            if answer["times"] == 0:
                del answers[name]
            script(vmm.folder, **answers)
        return answer

    def reply(self, status, text):
        self.send_response(status)
        if text:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = do_request

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"


class Server(socketserver.BaseServer):
    """One connection after the other, as the VMMs do."""

    def __init__(self, vmm):
        super().__init__(None, Handler)
        self.vmm = vmm
        vmm.listener.listen(8)

    def serve(self):
        while True:
            sock, _ = self.vmm.listener.accept()
            with sock:
                try:
                    self.RequestHandlerClass(sock, "unix", self)
                except OSError:
                    pass


def main(name, folder, *argv):
    note(folder, "started", name)
    vmm = {"firecracker": Firecracker, "cloud-hypervisor": CloudHypervisor}[name](folder, argv)
    signal.signal(signal.SIGUSR1, lambda *_: vmm.guest_ends(rebooting=True))
    signal.signal(signal.SIGUSR2, lambda *_: vmm.guest_ends(rebooting=False))
    exits = vmm.read("answers.json").get("start")
    if exits:
        print(exits, file=sys.stderr)
        sys.exit(1)
    Server(vmm).serve()


# ---- What the tests use ----

VARIABLES = {"firecracker": "POSTERN_FIRECRACKER", "cloud-hypervisor": "POSTERN_CLOUD_HYPERVISOR"}


def install(folder, host):
    """Writes both programs into the folder, and has the host take them."""
    build = os.path.abspath(os.environ.get("POSTERN_BUILD", "build"))
    fake_vmm.install(folder, {}, host)
    for name, variable in VARIABLES.items():
        with open(f"{folder}/{name}", "w") as file:
            file.write(f"#!/bin/sh\nexport POSTERN_BUILD={build}\n"
                       f'exec /usr/bin/python3 -B {os.path.abspath(__file__)} {name} {folder} "$@"\n')
        os.chmod(f"{folder}/{name}", 0o755)
        host.env[variable] = f"{folder}/{name}"
    host.env["POSTERN_ACCEL"] = "kvm"
    with open(f"{folder}/vmlinux", "wb") as file:
        file.write(b"\177ELF")


def script(folder, **answers):
    """What requests are answered with from now on."""
    with open(f"{folder}/answers.new", "w") as file:
        json.dump(answers, file)
    os.replace(f"{folder}/answers.new", f"{folder}/answers.json")


def requests(folder):
    """(method, path, body) of each request that was accepted, in order; a refused one is a mistake."""
    found = []
    for event in fake_vmm.events(folder):
        words = event.split(" ", 2)
        assert words[0] != "REFUSED", event
        if words[0] in ("GET", "PUT", "PATCH"):
            found.append((words[0], words[1], json.loads(words[2]) if len(words) > 2 else None))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
