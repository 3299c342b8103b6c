"""What the client tests share: a running Overspill with toy backends, a count of what held, a load."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

# Loopback needs no proxy, and clients must not ask one.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

# Longest wait for what is bound to come; a busy machine may stand still for seconds.
PATIENCE = 60.0


def own_host():
    """A loopback address that no other process uses, so that fixed ports on it are free. Linux has all of 127/8."""
    pid = os.getpid()
    return f"127.{64 | (pid >> 16) & 63}.{(pid >> 8) & 255}.{pid & 255}"


def eventually(what, holds):
    """Waits for a condition and returns what it gave."""
    end = time.monotonic() + PATIENCE
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.02)


class Cases:
    """Counts cases. One that fails is told with its trace and does not end the run."""

    def __init__(self):
        self.passed = 0
        self.failed = []

    def run(self, name, case, *arguments):
        try:
            found = case(*arguments)
        except Exception:  # whatever a client throws is a failure of this case alone
            self.failed.append(name)
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
            return None
        self.passed += 1
        print(f"ok     {name}", flush=True)
        return found

    def end(self):
        for name in self.failed:
            print(f"failed: {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed")
        sys.exit(1 if self.failed or not self.passed else 0)


class Overspill:
    """`overspill serve` on a file of its own, and toy backends, all on this process's loopback address."""

    def __init__(self, binary, text, toys):
        self.host = own_host()
        self.folder = tempfile.mkdtemp(prefix="overspill-clients-")
        self.file = os.path.join(self.folder, "overspill.yaml")
        self.text = text
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text)
        self.log = open(os.path.join(self.folder, "log"), "w", encoding="utf-8")
        self.admin = f"{self.host}:9901"
        self.toys = [8081 + i for i in range(toys)]
        listens = [part for port in self.toys for part in ("--listen", f"{self.host}:{port}")]
        self.processes = []
        self.start([binary, "backend", *listens])
        self.start([binary, "serve", "-c", self.file, "--admin", self.admin, "--workers", "2"])
        try:
            eventually("the admin address answers", lambda: status_of(self.admin, "/healthz") == 200)
            for port in self.toys:
                eventually("the toy answers", lambda port=port: status_of(f"{self.host}:{port}", "/") == 200)
        except BaseException:
            self.stop()
            raise

    def start(self, command):
        self.processes.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))

    def now(self):
        """The file's text."""
        with open(self.file, encoding="utf-8") as file:
            return file.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def rest(self, method, path, body=None, headers=None):
        """Plain REST: status and JSON. `body`: text as it is, anything else as JSON."""
        connection = http.client.HTTPConnection(self.admin, timeout=PATIENCE)
        try:
            sent = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.strip() else None
        finally:
            connection.close()


def status_of(address, path):
    """Status of a GET; None where nobody answers."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def fetch(address, path="/", host="any.example"):
    """Status, serving backend and body of a GET over a new connection."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-backend"), answer.read()
    finally:
        connection.close()


class Load:
    """Threads that ask without a pause, half of them over new connections each time; what fails is kept."""

    def __init__(self, address, threads=4):
        self.address = address
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.answers = {}
        self.failures = []
        self.threads = [threading.Thread(target=self._ask, args=(i % 2 == 0,), daemon=True) for i in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def count(self):
        """Answers by backend so far."""
        with self.lock:
            return dict(self.answers)

    def since(self, before):
        """Answers by backend since a count."""
        return {name: n - before.get(name, 0) for name, n in self.count().items() if n > before.get(name, 0)}

    def _ask(self, keeps):
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        while not self.over.is_set():
            try:
                connection.request("GET", "/", headers={"Host": "any.example"})
                answer = connection.getresponse()
                answer.read()
                backend, failure = answer.getheader("x-backend"), None
                if answer.status != 200:
                    failure = f"status {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                backend, failure = None, repr(error)
            with self.lock:
                if failure:
                    self.failures.append(failure)
                else:
                    self.answers[backend] = self.answers.get(backend, 0) + 1
            if failure or not keeps:
                connection.close()
            # The machine has others too.
            time.sleep(0.002)
        connection.close()
