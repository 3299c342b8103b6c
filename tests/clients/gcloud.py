"""The real gcloud, unmodified, drives Overspill end to end on live traffic [G 10].

    python3 tests/clients/gcloud.py [path of the overspill binary] [--transcript FILE] [--quick] [--own]

`--transcript`: what was typed and printed goes there. `--quick`: the commands that differ most in what they send, for
runs that must not take long (a command takes a second). `--own`: the same with our own command line, which has gcloud's
flags, messages and exit codes. Prints `N passed, N failed`; exits 1 when one failed.
"""

import argparse
import http.client
import json
import os
import shlex
import stat
import subprocess
import tempfile
import time

from harness import Cases, Load, Overspill, eventually, fetch, status_of

P, Z, R = "my-project", "us-central1-a", "us-central1"
EMPTY = "# mine, and it stays\nproxy:\n  zone: us-central1-a   # where I am\n"
WEB = 8080


class World:
    """Overspill and a gcloud that knows nothing but its address, or our own command line in its place."""

    def __init__(self, overspill, folder, transcript, own=None):
        self.own = own
        self.overspill, self.host, self.folder = overspill, overspill.host, folder
        self.transcript = transcript
        self.api = f"http://{overspill.admin}/compute/v1"
        self.base = f"{self.api}/projects/{P}"
        self.environment = {
            **os.environ,
            "CLOUDSDK_CONFIG": os.path.join(folder, "config"),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{self.api}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_NETWORKSERVICES": f"http://{overspill.admin}/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": P,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
        }

    def gcloud(self, line, code=0, environment=None, typed=""):
        """Runs a command; what it printed, both streams. `code`: how it must end. `typed`: answers to its questions."""
        words = shlex.split(line)
        done = subprocess.run(
            self.in_own_words(words) if self.own else ["gcloud", *words],
            env={**self.environment, **(environment or {})},
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
        printed = done.stdout + done.stderr
        if self.transcript:
            print(f"$ gcloud {line}\n{printed}", file=self.transcript, flush=True)
        assert done.returncode == code, f"gcloud {line}\nended with {done.returncode}:\n{printed}"
        return printed

    def in_own_words(self, words):
        """Our command line has neither products nor locations."""
        if words[0] == "network-services":
            words = [word for word in words if word not in ("--location", "global")]
        return [self.own, *words[1:], "--admin", f"http://{self.overspill.admin}", "--project", P, "--quiet"]

    def compute(self, line, **more):
        return self.gcloud(f"compute {line}", **more)

    def json(self, line):
        """The same command's resource or list."""
        printed = self.compute(f"{line} --format=json")
        begin = min(at for at in (printed.find("["), printed.find("{")) if at >= 0)
        return json.JSONDecoder().raw_decode(printed[begin:])[0]

    def web(self):
        return self.json("backend-services describe web --global")

    def backend(self, group):
        """One backend of `web`, by its group's name."""
        return next(b for b in self.web()["backends"] if b["group"].endswith(f"/{group}"))

    def set_toys(self, settings):
        """Changes how all toy backends behave."""
        for port in self.overspill.toys:
            connection = http.client.HTTPConnection(f"{self.overspill.host}:{port}", timeout=60)
            connection.request("POST", f"/_set?{settings}")
            assert connection.getresponse().status == 200, settings
            connection.close()

    def path(self, name, text=None):
        """A file in the temporary folder."""
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path


def has(printed, *words):
    for word in words:
        assert word in printed, f"{word!r} is not in:\n{printed}"
    return printed


# From nothing to traffic.


def machines(w):
    """gcloud makes machines of images; here they are there already."""
    for name in ["vm1", "vm2", "vm3"]:
        machine_made(w, name)


def machine_made(w, name):
    body = {"name": name, "networkInterfaces": [{"networkIP": w.host}]}
    status, answer = w.overspill.rest("POST", f"/compute/v1/projects/{P}/zones/{Z}/instances", body)
    assert status == 200, answer


def machine_gone(w, name):
    status, answer = w.overspill.rest("DELETE", f"/compute/v1/projects/{P}/zones/{Z}/instances/{name}")
    assert status == 200, answer


def health_checks(w):
    printed = w.compute(
        "health-checks create http basic --use-serving-port --request-path /healthz --check-interval 1s --timeout 1s"
    )
    has(printed, f"Created [{w.base}/global/healthChecks/basic].", "NAME", "basic", "HTTP")
    found = w.json("health-checks describe basic --global")
    assert (found["checkIntervalSec"], found["healthyThreshold"]) == (1, 2), found
    assert found["httpHealthCheck"]["portSpecification"] == "USE_SERVING_PORT", found


def health_checks_more(w):
    has(w.compute("health-checks update http basic --unhealthy-threshold 3"), "Updated [")
    assert w.json("health-checks describe basic --global")["unhealthyThreshold"] == 3
    has(w.compute("health-checks create tcp quick --port 80 --check-interval 7"), "Created [")
    has(w.compute("health-checks list"), "basic", "quick", "TCP")
    has(w.compute("health-checks list --global --filter=name=quick"), "quick")
    assert "basic" not in w.compute("health-checks list --global --filter=name=quick")
    has(w.compute("health-checks delete quick --global"), f"Deleted [{w.base}/global/healthChecks/quick].")
    has(w.compute("http-health-checks create lhc --request-path /healthz --port 8081"), "Created [", "lhc", "/healthz")
    has(w.compute("http-health-checks update lhc --port 8082"), "Updated [")
    assert w.json("http-health-checks describe lhc")["port"] == 8082
    has(w.compute("http-health-checks list"), "lhc", "8082")
    refused = w.compute("health-checks create http wrong --check-interval 5 --timeout 6", code=1)
    has(refused, "Could not fetch resource", "timeoutSec")


def groups(w):
    for group, machine, port in zip(["ig1", "ig2"], ["vm1", "vm2"], w.overspill.toys):
        has(w.compute(f"instance-groups unmanaged create {group} --zone {Z}"), "Created [", group)
        has(w.compute(f"instance-groups unmanaged add-instances {group} --zone {Z} --instances {machine}"), "Updated [")
        has(w.compute(f"instance-groups set-named-ports {group} --zone {Z} --named-ports http:{port}"), "Updated [")


def groups_more(w):
    has(w.compute(f"instance-groups unmanaged set-named-ports ig1 --zone {Z} --named-ports http:8081,admin:9"), "Updated [")
    has(w.compute(f"instance-groups get-named-ports ig1 --zone {Z}"), "NAME", "PORT", "http", "8081", "admin")
    has(w.compute(f"instance-groups unmanaged get-named-ports ig1 --zone {Z}"), "http", "8081")
    has(w.compute(f"instance-groups list-instances ig1 --zone {Z}"), "NAME", "STATUS", "vm1", "RUNNING")
    has(w.compute(f"instance-groups unmanaged list-instances ig1 --zone {Z}"), "vm1", "RUNNING")
    has(w.compute(f"instance-groups unmanaged add-instances ig1 --zone {Z} --instances vm3"), "Updated [")
    assert len(w.json(f"instance-groups list-instances ig1 --zone {Z}")) == 2
    has(w.compute(f"instance-groups unmanaged remove-instances ig1 --zone {Z} --instances vm3"), "Updated [")
    assert len(w.json(f"instance-groups list-instances ig1 --zone {Z}")) == 1
    has(w.compute("instance-groups list"), "LOCATION", "SCOPE", "INSTANCES", "ig1", "ig2", Z)
    has(w.compute(f"instance-groups unmanaged list --zones {Z}"), "ig1", "ig2")
    # This one asks for managed groups too [G 10.10].
    has(w.compute(f"instance-groups list --zones {Z}"), "ig1", "ig2")
    assert w.json(f"instance-groups describe ig1 --zone {Z}")["size"] == 1
    has(w.compute(f"instance-groups unmanaged create ig1 --zone {Z}", code=1), "already exists")
    has(w.compute(f"instance-groups unmanaged add-instances ig1 --zone {Z} --instances none", code=1), "not found")


def service(w):
    printed = w.compute(
        "backend-services create web --global --protocol HTTP --port-name http --health-checks basic"
        " --load-balancing-scheme EXTERNAL_MANAGED --timeout 2m --enable-logging --logging-sample-rate 0.5"
    )
    has(printed, f"Created [{w.base}/global/backendServices/web].", "NAME", "BACKENDS", "PROTOCOL", "web", "HTTP")
    for group in ["ig1", "ig2"]:
        printed = w.compute(
            f"backend-services add-backend web --global --instance-group {group} --instance-group-zone {Z}"
            " --balancing-mode RATE --max-rate-per-instance 100"
        )
        has(printed, f"Updated [{w.base}/global/backendServices/web].")
    found = w.web()
    assert (found["timeoutSec"], found["logConfig"]["sampleRate"]) == (120, 0.5), found
    assert [b["maxRatePerInstance"] for b in found["backends"]] == [100.0, 100.0], found


def front(w):
    has(w.compute("url-maps create web-map --default-service web"), "Created [", "web-map", "backendServices/web")
    has(w.compute("target-http-proxies create web-proxy --url-map web-map"), "Created [", "web-proxy", "web-map")
    printed = w.compute(
        f"forwarding-rules create web-rule --global --load-balancing-scheme EXTERNAL_MANAGED --address {w.host}"
        f" --target-http-proxy web-proxy --ports {WEB}"
    )
    has(printed, "Created [")
    has(w.compute("forwarding-rules list"), "IP_ADDRESS", "IP_PROTOCOL", "web-rule", w.host, "TCP", "web-proxy")
    served = set()

    def both():
        served.add(fetch(f"{w.host}:{WEB}")[1])
        return len(served) == 2

    eventually("the front answers", lambda: status_of(f"{w.host}:{WEB}", "/") == 200)
    eventually("both backends serve", both)


# Changes of what serves.


def drain(w):
    one, two = (f"backend-{port}" for port in w.overspill.toys[:2])
    update = f"backend-services update-backend web --global --instance-group ig2 --instance-group-zone {Z}"
    with Load(f"{w.host}:{WEB}") as load:
        eventually("both serve", lambda: {one, two} <= load.count().keys())
        has(w.compute(f"{update} --capacity-scaler 0"), f"Updated [{w.base}/global/backendServices/web].")
        assert w.backend("ig2")["capacityScaler"] == 0

        def only_one():
            before = load.count()
            eventually("200 more answers", lambda: sum(load.since(before).values()) >= 200)
            return load.since(before).keys() == {one}

        eventually("only the first serves", only_one)
        has(w.compute(f"{update} --capacity-scaler 1"), "Updated [")
        before = load.count()
        eventually("both serve again", lambda: {one, two} <= load.since(before).keys())
    assert not load.failures, load.failures[:5]


def effects(w):
    """Flags of update-backend that place requests, and where these go then. All is over the targets, so that it is
    shared in proportion to capacity [G 2.6]; the other backend takes 100/s."""
    two = f"backend-{w.overspill.toys[1]}"
    update = f"backend-services update-backend web --global --instance-group ig2 --instance-group-zone {Z}"
    with Load(f"{w.host}:{WEB}") as load:

        def share():
            before = load.count()
            eventually("400 more answers", lambda: sum(load.since(before).values()) >= 400)
            since = load.since(before)
            return since.get(two, 0) / sum(since.values())

        for flags, wanted in [
            ("--max-rate 25", 0.2),
            ("--max-rate-per-instance 50", 1 / 3),
            ("--capacity-scaler 0.5", 0.2),
            ("--capacity-scaler 1 --max-rate 100", 0.5),
            ("--max-rate 1000000 --preference PREFERRED", 1.0),
            ("--max-rate 25 --preference DEFAULT", 0.2),
            ("--max-rate-per-instance 100", 0.5),
        ]:
            has(w.compute(f"{update} {flags}"), "Updated [")
            eventually(f"{flags}: {wanted:.2f} go there", lambda wanted=wanted: abs(share() - wanted) < 0.05)
    assert not load.failures, load.failures[:5]


def connections(w):
    """CONNECTION: as many connections as update-backend says, the rest shared in proportion [G 1a, 2.6]."""
    w.compute("health-checks create tcp alive --use-serving-port --check-interval 1s --timeout 1s")
    w.compute(
        "backend-services create relay --global --protocol TCP --port-name http --health-checks alive"
        " --load-balancing-scheme EXTERNAL_MANAGED"
    )
    # A group has one mode in all services, and a machine is in one group that is balanced [G 1.27, 1.29].
    for group, machine, port in zip(["tcp1", "tcp2"], ["vm4", "vm5"], w.overspill.toys):
        machine_made(w, machine)
        w.compute(f"instance-groups unmanaged create {group} --zone {Z}")
        w.compute(f"instance-groups unmanaged add-instances {group} --zone {Z} --instances {machine}")
        w.compute(f"instance-groups set-named-ports {group} --zone {Z} --named-ports http:{port}")
        w.compute(
            f"backend-services add-backend relay --global --instance-group {group} --instance-group-zone {Z}"
            " --balancing-mode CONNECTION --max-connections 4"
        )
    has(w.compute("target-tcp-proxies create relay-proxy --backend-service relay"), "Created [")
    w.compute(
        f"forwarding-rules create relay-rule --global --load-balancing-scheme EXTERNAL_MANAGED --address {w.host}"
        " --target-tcp-proxy relay-proxy --ports 8099"
    )
    eventually("the relay answers", lambda: status_of(f"{w.host}:8099", "/") == 200)
    update = f"backend-services update-backend relay --global --instance-group tcp2 --instance-group-zone {Z}"
    for flags, wanted in [
        ("--max-connections 12", 12),
        ("--max-connections-per-instance 4", 4),
        ("--capacity-scaler 0.5", 2),
        ("--capacity-scaler 1", 4),
    ]:
        has(w.compute(f"{update} {flags}"), "Updated [")

        def taken(wanted=wanted):
            """Of as many connections as both take together, those that the second has."""
            held = [http.client.HTTPConnection(f"{w.host}:8099", timeout=10) for _ in range(4 + wanted)]
            try:
                return sum(who(connection) == f"backend-{w.overspill.toys[1]}" for connection in held) == wanted
            finally:
                for connection in held:
                    connection.close()

        eventually(f"{flags}: {wanted} connections", taken)
    for line in [
        "forwarding-rules delete relay-rule --global",
        "target-tcp-proxies delete relay-proxy",
        "backend-services delete relay --global",
        f"instance-groups unmanaged delete tcp1 tcp2 --zone {Z}",
        "health-checks delete alive --global",
    ]:
        has(w.compute(line), "Deleted [")
    for machine in ["vm4", "vm5"]:
        machine_gone(w, machine)


def who(connection):
    """The backend at the other end of a connection that stays open."""
    connection.request("GET", "/", headers={"Host": "any.example"})
    answer = connection.getresponse()
    answer.read()
    return answer.getheader("x-backend")


def loads(w):
    """Flags of update-backend by which members' load places requests: utilization and metrics as the members report them,
    and requests under way [G 1.3, 1.16-1.18, 2.4-2.6]."""
    two = f"backend-{w.overspill.toys[1]}"
    # Our zonal groups say by themselves where their utilization is read; members on loopback would be measured otherwise.
    for group, machine, port in zip(["load1", "load2"], ["vm6", "vm7"], w.overspill.toys):
        machine_made(w, machine)
        body = {"name": group, "namedPorts": [{"name": "http", "port": port}], "utilization": {"source": "ORCA_HEADER"}}
        status, answer = w.overspill.rest("POST", f"/compute/v1/projects/{P}/zones/{Z}/instanceGroups", body)
        assert status == 200, answer
        w.compute(f"instance-groups unmanaged add-instances {group} --zone {Z} --instances {machine}")
    zonal_neg = "--network-endpoint-type non-gcp-private-ip-port"
    for group, port in zip(["long1", "long2"], w.overspill.toys):
        w.compute(f"network-endpoint-groups create {group} --zone {Z} {zonal_neg}")
        endpoint = f"--add-endpoint ip={w.host},port={port}"
        w.compute(f"network-endpoint-groups update {group} --zone {Z} {endpoint}")
    create = "backend-services create {} --global --health-checks basic --load-balancing-scheme EXTERNAL_MANAGED"
    add = "backend-services add-backend {} --global {} --balancing-mode RATE"
    for service, kind, names, target in [
        ("loaded", "instance-group", ["load1", "load2"], "--max-rate 100"),
        ("long", "network-endpoint-group", ["long1", "long2"], "--max-rate-per-endpoint 100"),
    ]:
        has(w.compute(create.format(service)), "Created [")
        for name in names:
            group = f"--{kind} {name} --{kind}-zone {Z}"
            has(w.compute(f"{add.format(service, group)} {target}"), "Updated [")
        w.compute(f"url-maps create {service}-map --default-service {service}")
        w.compute(f"target-http-proxies create {service}-proxy --url-map {service}-map")
    for service, port in [("loaded", 8097), ("long", 8098)]:
        w.compute(
            f"forwarding-rules create {service}-rule --global --load-balancing-scheme EXTERNAL_MANAGED"
            f" --address {w.host} --target-http-proxy {service}-proxy --ports {port}"
        )
        eventually("it answers", lambda port=port: status_of(f"{w.host}:{port}", "/") == 200)

    # Up to its target all goes to the second group, and the rest spills to the first: so many a second it gets.
    of_group = f"--instance-group load2 --instance-group-zone {Z}"
    update = f"backend-services update-backend loaded --global {of_group}"
    metric = "orca.application_utilization"
    file = w.path("load.json", json.dumps([{"name": metric, "maxUtilization": 0.25, "dryRun": False}]))
    # At 60 requests a second a member says that it has nothing left.
    w.set_toys("capacity=60")
    w.compute(f"{update.replace('load2', 'load1')} --max-rate 1000000")
    w.compute(f"{update} --preference PREFERRED")
    with Load(f"{w.host}:8097") as load:

        def rate():
            """Requests a second that the second group gets while the first has some as well."""
            before, start = load.count(), time.monotonic()
            eventually("45 more answers of it", lambda: load.since(before).get(two, 0) >= 45)
            got, took = load.since(before), time.monotonic() - start
            return got[two] / took if len(got) == 2 else None

        for words, wanted in [
            ("--balancing-mode UTILIZATION --max-utilization 0.25 --max-rate 1000000", 15),
            ("--max-utilization 1.0", 60),
            ("--max-utilization 0.5", 30),
            ("--capacity-scaler 0.5", 15),
            ("--max-utilization 1.0 --capacity-scaler 1", 60),
            # The mode's own maximum goes with a mode that has none [G 10.6].
            ("--balancing-mode RATE --max-rate 30", 30),
            (f"--balancing-mode CUSTOM_METRICS --max-rate 1000000 --custom-metrics name={metric},maxUtilization=1.0", 60),
            # gcloud does not count these flags as changes, so another one goes with them.
            (f"--description a --custom-metrics-file {file}", 15),
            (f"--description b --custom-metrics name={metric},maxUtilization=0.5", 30),
            ("--balancing-mode RATE --max-rate 60 --clear-custom-metrics", 60),
        ]:
            has(w.compute(f"{update} {words}"), "Updated [")

            def is_held(wanted=wanted):
                now = rate()
                return now and abs(now / wanted - 1) < 0.25

            eventually(f"{words}: {wanted} a second go there", is_held)
    assert not load.failures, load.failures[:5]
    # Requests under way; per endpoint in groups of endpoints, per instance in groups of instances.
    w.set_toys("latency=20ms")
    mode = "--balancing-mode IN_FLIGHT --traffic-duration LONG"
    for service, kind, names, port, each in [
        ("loaded", "instance-group", ["load1", "load2"], 8097, "instance"),
        ("long", "network-endpoint-group", ["long1", "long2"], 8098, "endpoint"),
    ]:
        update = f"backend-services update-backend {service} --global --{kind} {{}} --{kind}-zone {Z}"
        first, second = (update.format(name) for name in names)
        has(w.compute(f"{first} {mode} --max-in-flight-requests 4"), "Updated [")
        has(w.compute(f"{second} --preference DEFAULT"), "Updated [")
        with Load(f"{w.host}:{port}", threads=12) as load:

            def share(load=load):
                before = load.count()
                eventually("400 more answers", lambda: sum(load.since(before).values()) >= 400)
                since = load.since(before)
                return since.get(two, 0) / sum(since.values())

            for words, wanted in [
                (f"{mode} --max-in-flight-requests 12", 0.75),
                (f"--max-in-flight-requests-per-{each} 2", 1 / 3),
                ("--max-in-flight-requests 8", 2 / 3),
                ("--capacity-scaler 0.5", 0.5),
            ]:
                has(w.compute(f"{second} {words}"), "Updated [")
                eventually(f"{words}: {wanted:.2f} go there", lambda wanted=wanted: abs(share() - wanted) < 0.06)
        assert not load.failures, load.failures[:5]
    # Back to short answers, as the mode says that they are.
    w.set_toys("latency=0ms")
    for service in ["loaded", "long"]:
        for line in [
            f"forwarding-rules delete {service}-rule --global",
            f"target-http-proxies delete {service}-proxy",
            f"url-maps delete {service}-map",
            f"backend-services delete {service} --global",
        ]:
            has(w.compute(line), "Deleted [")
    has(w.compute(f"instance-groups unmanaged delete load1 load2 --zone {Z}"), "Deleted [")
    for group in ["long1", "long2"]:
        has(w.compute(f"network-endpoint-groups delete {group} --zone {Z}"), "Deleted [")
    for machine in ["vm6", "vm7"]:
        machine_gone(w, machine)


def update_backend(w):
    """Every flag of update-backend [G 10c]; changing the mode drops what belongs to the other [G 10.6]."""
    update = f"backend-services update-backend web --global --instance-group ig2 --instance-group-zone {Z}"

    def after(flags, **fields):
        has(w.compute(f"{update} {flags}"), "Updated [")
        found = w.backend("ig2")
        for name, value in fields.items():
            assert found.get(name) == value, (flags, name, value, found)
        return found

    after("--max-rate 500", maxRate=500, maxRatePerInstance=None, balancingMode="RATE")
    after("--max-rate-per-instance 50.5", maxRatePerInstance=50.5, maxRate=None)
    after("--capacity-scaler 0.5 --description canary", capacityScaler=0.5, description="canary")
    after("--preference PREFERRED", preference="PREFERRED")
    after("--preference DEFAULT", preference="DEFAULT")
    # A group has one mode in all services, so the other backend need not follow.
    found = after(
        "--balancing-mode UTILIZATION --max-utilization 0.7 --max-rate-per-instance 80",
        balancingMode="UTILIZATION",
        maxUtilization=0.7,
        maxRatePerInstance=80.0,
    )
    assert "maxRate" not in found
    after("--balancing-mode RATE --max-rate-per-instance 100", balancingMode="RATE", maxUtilization=None)
    for flags in ["--max-utilization 0.7", "--max-rate 1 --max-rate-per-instance 2", "--balancing-mode FAST"]:
        before = w.overspill.now()
        code = 1 if "utilization" in flags else 2
        w.compute(f"{update} {flags}", code=code)
        assert w.overspill.now() == before
    has(w.compute(f"{update} --capacity-scaler 0.05", code=1), "capacityScaler")
    has(w.compute(update, code=1), "At least one property must be modified")
    has(w.compute(f"{update.replace('ig2', 'ig9')} --max-rate 1", code=1), "No backend with name [ig9]")


def custom_metrics(w):
    file = w.path("metrics.json", json.dumps([{"name": "queue", "maxUtilization": 0.8, "dryRun": False}]))
    update = f"backend-services update-backend web --global --instance-group ig2 --instance-group-zone {Z}"
    has(w.compute(f"{update} --balancing-mode CUSTOM_METRICS --custom-metrics-file {file}"), "Updated [")
    found = w.backend("ig2")
    assert found["customMetrics"] == [{"dryRun": False, "maxUtilization": 0.8, "name": "queue"}], found
    # gcloud does not count this flag as a change, so another one goes with it.
    flag = "--description queued --custom-metrics name=queue,maxUtilization=0.6,dryRun=false"
    has(w.compute(f"{update} {flag}"), "Updated [")
    assert abs(w.backend("ig2")["customMetrics"][0]["maxUtilization"] - 0.6) < 1e-6
    # At least one decides something [G 1.37].
    dry = "--description dry --custom-metrics name=queue,maxUtilization=0.6,dryRun=true"
    has(w.compute(f"{update} {dry}", code=1), "no metric but on a dry run", "dryRun: false")
    assert abs(w.backend("ig2")["customMetrics"][0]["maxUtilization"] - 0.6) < 1e-6
    has(w.compute(f"{update} --balancing-mode RATE --max-rate-per-instance 100 --clear-custom-metrics"), "Updated [")
    assert not w.backend("ig2").get("customMetrics")


def update(w):
    """`update` sends a PATCH of all that it read [G 10.2a]."""
    change = "backend-services update web --global"
    for flags, field, value in [
        ("--timeout 45", "timeoutSec", 45),
        ("--session-affinity generated_cookie --affinity-cookie-ttl 60", "sessionAffinity", "GENERATED_COOKIE"),
        ("--connection-draining-timeout 30", "connectionDraining", {"drainingTimeoutSec": 30}),
        ("--custom-request-header 'X-Geo: {client_region}'", "customRequestHeaders", ["X-Geo: {client_region}"]),
        ("--custom-response-header 'X-A: b'", "customResponseHeaders", ["X-A: b"]),
        ("--locality-lb-policy least-request --session-affinity none", "localityLbPolicy", "LEAST_REQUEST"),
        ("--description words", "description", "words"),
        ("--compression-mode automatic", "compressionMode", "AUTOMATIC"),
        ("--no-enable-logging", "logConfig", None),
    ]:
        has(w.compute(f"{change} {flags}"), "Updated [")
        found = w.web()
        if value is not None:
            assert found[field] == value, (flags, found)
    assert found["logConfig"]["enable"] is False, found
    assert found["timeoutSec"] == 45 and len(found["backends"]) == 2
    has(w.compute(f"{change} --no-custom-request-headers --no-custom-response-headers"), "Updated [")
    assert not w.web().get("customRequestHeaders")
    strong = "--session-affinity strong_cookie_affinity --affinity-cookie-name S --affinity-cookie-ttl 60"
    has(w.compute(f"{change} {strong}"), "Updated [")
    cookie = w.web()["strongSessionAffinityCookie"]
    assert (cookie["name"], cookie["ttl"]["seconds"]) == ("S", "60"), cookie
    has(w.compute(f"{change} --session-affinity none"), "Updated [")
    assert "strongSessionAffinityCookie" not in w.web()
    has(w.compute(f"{change} --custom-request-header 'Bad Name: x'", code=1), "customRequestHeaders")
    has(w.compute("backend-services update none --global --timeout 5", code=1), "was not found")


def editor(w, name, script):
    """An $EDITOR that changes the file with sed."""
    path = w.path(name, f'#!/bin/sh\nexec sed -i "{script}" "$1"\n')
    os.chmod(path, stat.S_IRWXU)
    return {"EDITOR": path}


def edit(w):
    before = w.web()
    found = w.compute(
        "backend-services edit web --global",
        environment=editor(w, "edit.sh", "s/^timeoutSec: .*/timeoutSec: 77/"),
    )
    has(found, "Updated [")
    after = w.web()
    assert after.pop("timeoutSec") == 77 and before.pop("timeoutSec") != 77
    for changing in ["fingerprint"]:
        before.pop(changing), after.pop(changing)
    assert before == after, "an edit of one field keeps what the editor does not show [G 10b]"
    refused = w.compute(
        "backend-services edit web --global",
        # What is refused may be edited again, which goes on for ever without questions.
        environment={**editor(w, "wrong.sh", "s/^timeoutSec: .*/timeoutSec: 0/"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "0"},
        typed="n\n",
        code=1,
    )
    has(refused, "timeoutSec")
    assert w.web()["timeoutSec"] == 77


def edit_map(w):
    w.compute("url-maps edit web-map", environment=editor(w, "map.sh", "s/^description: .*//; 1i description: mine"))
    assert w.json("url-maps describe web-map --global")["description"] == "mine"


def import_export(w):
    file = w.path("web.yaml")
    w.compute(f"backend-services export web --global --destination {file}")
    with open(file, encoding="utf-8") as opened:
        text = has(opened.read(), "timeoutSec: 77")
    w.path("web.yaml", text.replace("timeoutSec: 77", "timeoutSec: 66"))
    w.compute(f"backend-services import web --global --source {file}")
    assert w.web()["timeoutSec"] == 66
    w.path("new.yaml", text.replace("name: web", "name: copy").replace(f"{w.base}/global/backendServices/web", ""))
    w.compute(f"url-maps export web-map --global --destination {w.path('map.yaml')}")
    w.compute(f"url-maps import web-map --global --source {w.path('map.yaml')}")
    copy = "\n".join(line for line in text.splitlines() if not line.startswith(("selfLink", "fingerprint", "name:")))
    w.path("copy.yaml", copy + "\nname: copy\n")
    w.compute(f"backend-services import copy --global --source {w.path('copy.yaml')}")
    assert w.json("backend-services describe copy --global")["timeoutSec"] == 77
    has(w.compute("backend-services delete copy --global"), "Deleted [")


def several(w):
    """Several at once go through the batch endpoint [G 10.13]."""
    for name in ["one", "two"]:
        w.compute(f"backend-services create {name} --global --load-balancing-scheme EXTERNAL_MANAGED --health-checks basic")
    printed = w.compute("backend-services delete one two --global")
    has(printed, f"Deleted [{w.base}/global/backendServices/one].", f"Deleted [{w.base}/global/backendServices/two].")
    has(w.compute("backend-services delete web none --global", code=1), "already being used by", "was not found")


def get_health(w):
    def healthy():
        printed = w.compute("backend-services get-health web --global")
        return printed if printed.count("healthState: HEALTHY") == 2 else None

    printed = eventually("both are healthy", healthy)
    has(
        printed,
        "---",
        f"backend: {w.base}/zones/{Z}/instanceGroups/ig1",
        f"instance: {w.base}/zones/{Z}/instances/vm1",
        f"ipAddress: {w.host}",
        f"port: {w.overspill.toys[0]}",
        "kind: compute#backendServiceGroupHealth",
    )


def lists(w):
    w.compute(
        "backend-services create other --global --health-checks basic --load-balancing-scheme EXTERNAL_MANAGED"
    )
    has(w.compute("backend-services list"), "NAME", "BACKENDS", "PROTOCOL", f"{Z}/instanceGroups/ig1", "other")
    for line in ["--global --filter=name=web", "--filter=name=web", "--filter='name~^we'", "--global --filter='name~^we'"]:
        found = [s["name"] for s in w.json(f"backend-services list {line}")]
        assert found == ["web"], (line, found)
    assert len(w.json("backend-services list --limit 1")) == 1
    if not w.own:
        columns = ["LOAD_BALANCING_SCHEME", "EXTERNAL_MANAGED", "HEALTH_CHECKS"]
        has(w.gcloud("beta compute backend-services list"), *columns)
        has(w.gcloud("alpha compute backend-services describe web --global"), "name: web", "timeoutSec: 66")
    has(w.compute("backend-services list --regions us-central1"), "Listed 0 items")
    has(w.compute("backend-services delete other --global"), "Deleted [")
    described = w.compute("backend-services describe web --global")
    has(described, "creationTimestamp: '", "id: '", "kind: compute#backendService", "- balancingMode: RATE")
    assert w.compute("backend-services describe web --global --format='value(timeoutSec)'").strip() == "66"
    has(w.compute("backend-services describe none --global", code=1), "Could not fetch resource", "was not found")
    has(w.compute("backend-services describe web", code=1), "Underspecified resource")


def places(w):
    has(w.compute("zones list"), "NAME", "REGION", "STATUS", Z, "UP")
    found = w.compute(f"zones list --filter=name={Z}")
    assert found.count("UP") == 1, found
    has(w.compute("regions list"), R, "UP")
    assert w.json(f"zones describe {Z}")["name"] == Z
    assert w.json(f"regions describe {R}")["name"] == R


def operations(w):
    found = w.json("operations list --global")
    assert found and all(o["status"] == "DONE" for o in found), found
    printed = w.compute(f"operations describe {found[0]['name']} --global")
    has(printed, "status: DONE", "progress: 100", "kind: compute#operation", "targetLink:")
    has(w.compute(f"operations list --zones {Z}"), "NAME", "TYPE", "TARGET", "addInstances")
    has(w.compute(f"operations list --filter=name={found[0]['name']}"), found[0]["name"])


def add_and_remove(w):
    has(w.compute(f"backend-services remove-backend web --global --instance-group ig2 --instance-group-zone {Z}"), "Updated [")
    eventually("only one serves", lambda: {fetch(f"{w.host}:{WEB}")[1] for _ in range(20)} == {f"backend-{w.overspill.toys[0]}"})
    again = f"backend-services remove-backend web --global --instance-group ig2 --instance-group-zone {Z}"
    has(w.compute(again, code=1), f"Backend [ig2] in zone [{Z}] is not a backend of backend service [web].")
    add = f"backend-services add-backend web --global --instance-group ig2 --instance-group-zone {Z}"
    # RATE without a target is refused by the server [G 10.2a].
    before = w.overspill.now()
    has(w.compute(f"{add} --balancing-mode RATE", code=1), "Could not fetch resource")
    assert w.overspill.now() == before
    has(w.compute(add), "Updated [")
    found = w.backend("ig2")
    assert (found["balancingMode"], found["capacityScaler"], found["maxUtilization"]) == ("UTILIZATION", 1.0, 0.8)
    has(w.compute(add, code=1), "already exists in backend service [web]")


def url_maps(w):
    printed = w.compute(
        "url-maps add-path-matcher web-map --path-matcher-name pm --default-service web"
        " --new-hosts 'ex.com,*.ex.com' --backend-service-path-rules '/api/*=web,/x=web'"
    )
    has(printed, "Updated [")
    found = w.json("url-maps describe web-map --global")
    assert found["hostRules"] == [{"hosts": ["*.ex.com", "ex.com"], "pathMatcher": "pm"}], found
    has(w.compute("url-maps add-host-rule web-map --hosts other.org --path-matcher-name pm"), "Updated [")
    assert len(w.json("url-maps describe web-map --global")["hostRules"]) == 2
    has(w.compute("url-maps remove-host-rule web-map --host other.org"), "Updated [")
    file = w.path("valid.yaml", f"name: web-map\ndefaultService: {w.base}/global/backendServices/web\n")
    has(w.compute(f"url-maps validate --global --source {file}"), "loadSucceeded: true")
    test = f"tests:\n- host: a.b\n  path: /\n  service: {w.base}/global/backendServices/none\n"
    with open(file, "a", encoding="utf-8") as opened:
        opened.write(test)
    printed = w.compute(f"url-maps validate --global --source {file}")
    assert "testPassed: false" in printed or "loadSucceeded: false" in printed, printed
    has(w.compute("url-maps list"), "NAME", "DEFAULT_SERVICE", "web-map", "backendServices/web")
    has(w.compute("url-maps remove-path-matcher web-map --path-matcher-name pm"), "Updated [")
    assert "pathMatchers" not in w.json("url-maps describe web-map --global")
    has(w.compute("url-maps set-default-service web-map --default-service web"), "web-map")
    has(w.compute("url-maps delete web-map", code=1), "already being used by")


def proxies(w):
    has(w.compute("url-maps create second --default-service web"), "Created [")
    has(w.compute("target-http-proxies update web-proxy --url-map second"), "Updated [")
    assert w.json("target-http-proxies describe web-proxy")["urlMap"].endswith("/second")
    has(w.compute("target-http-proxies update web-proxy --url-map web-map"), "Updated [")
    has(w.compute("target-http-proxies update web-proxy --url-map web-map --http-keep-alive-timeout-sec 100"), "Updated [")
    assert w.json("target-http-proxies describe web-proxy")["httpKeepAliveTimeoutSec"] == 100
    has(w.compute("target-http-proxies create slow --url-map web-map --http-keep-alive-timeout-sec 100"), "Created [")
    has(w.compute("target-http-proxies list"), "slow", "web-proxy", "web-map")
    has(w.compute("target-http-proxies delete slow"), "Deleted [")
    has(w.compute("url-maps delete second"), "Deleted [")


def default_rule(w):
    """As the older guide has it: no scheme and no address; the classic one comes of it [G 10.2a]."""
    w.compute("http-health-checks create classic --request-path /healthz")
    has(w.compute("backend-services create old --global --http-health-checks classic"), "Created [")
    assert w.json("backend-services describe old --global")["loadBalancingScheme"] == "EXTERNAL"
    w.compute("url-maps create old-map --default-service old")
    w.compute("target-http-proxies create old-proxy --url-map old-map")
    port = w.overspill.toys[0] + 1000
    printed = w.compute(f"forwarding-rules create old-rule --global --target-http-proxy old-proxy --ports {port} --address {w.host}")
    has(printed, "Created [")
    found = w.json("forwarding-rules describe old-rule --global")
    assert (found["loadBalancingScheme"], found["IPProtocol"], found["portRange"]) == ("EXTERNAL", "TCP", f"{port}-{port}")
    has(w.compute("forwarding-rules delete old-rule --global"), "Deleted [")
    has(w.compute("target-http-proxies delete old-proxy"), "Deleted [")
    has(w.compute("url-maps delete old-map"), "Deleted [")
    has(w.compute("backend-services delete old --global"), "Deleted [")
    has(w.compute("http-health-checks delete classic"), "Deleted [")


def endpoint_groups(w):
    one, two = w.overspill.toys[1:3]
    create = f"network-endpoint-groups create neg --zone {Z} --network-endpoint-type"
    has(w.compute(f"{create} gce-vm-ip-port --default-port 8080"), "Created [", "Created network endpoint group [neg].")
    change = f"network-endpoint-groups update neg --zone {Z}"
    has(w.compute(f"{change} --add-endpoint instance=vm3,ip={w.host},port={two}"), "Attaching 1 endpoints to [neg]")
    printed = w.compute(f"network-endpoint-groups list-network-endpoints neg --zone {Z}")
    has(printed, "INSTANCE", "IP_ADDRESS", "PORT", "vm3", w.host, str(two))
    has(w.compute(f"{change} --add-endpoint instance=vm2,ip={w.host},port={one}"), "Attaching 1 endpoints to [neg]")
    filtered = f"network-endpoint-groups list-network-endpoints neg --zone {Z} --filter=networkEndpoint.port={one}"
    found = w.json(filtered)
    assert [e["networkEndpoint"]["port"] for e in found] == [one], found
    has(w.compute(f"{change} --remove-endpoint instance=vm2,ip={w.host},port={one}"), "Detaching 1 endpoints from [neg]")
    assert w.json(f"network-endpoint-groups describe neg --zone {Z}")["size"] == 1
    has(w.compute("network-endpoint-groups list"), "ENDPOINT_TYPE", "SIZE", "neg", "GCE_VM_IP_PORT")
    w.compute("backend-services create ends --global --health-checks basic --load-balancing-scheme EXTERNAL_MANAGED")
    add = f"backend-services add-backend ends --global --network-endpoint-group neg --network-endpoint-group-zone {Z}"
    has(w.compute(f"{add} --balancing-mode RATE --max-rate-per-endpoint 100"), "Updated [")
    update = add.replace("add-backend", "update-backend")
    has(w.compute(f"{update} --max-rate 50"), "Updated [")
    backend = w.json("backend-services describe ends --global")["backends"][0]
    assert (backend["maxRate"], backend.get("maxRatePerEndpoint")) == (50, None), backend
    has(w.compute("url-maps set-default-service web-map --default-service ends"), "web-map")
    eventually("the endpoint serves", lambda: fetch(f"{w.host}:{WEB}")[:2] == (200, f"backend-{two}"))
    has(w.compute(f"network-endpoint-groups delete neg --zone {Z}", code=1), "already being used by")
    has(w.compute("url-maps set-default-service web-map --default-service web"), "web-map")
    has(w.compute("backend-services delete ends --global"), "Deleted [")
    has(w.compute(f"network-endpoint-groups delete neg --zone {Z}"), "Deleted [")


def policies(w):
    base = "network-services service-lb-policies"
    w.gcloud(f"{base} create spray --location global --load-balancing-algorithm spray-to-region")
    has(w.gcloud(f"{base} describe spray --location global"), "loadBalancingAlgorithm: SPRAY_TO_REGION")
    has(w.compute("backend-services update web --global --service-lb-policy spray"), "Updated [")
    assert w.web()["serviceLbPolicy"].endswith("/serviceLbPolicies/spray")
    w.gcloud(f"{base} update spray --location global --auto-capacity-drain")
    has(w.gcloud(f"{base} describe spray --location global"), "enable: true", "SPRAY_TO_REGION")
    has(w.gcloud(f"{base} list --location global"), "spray")
    has(w.compute("backend-services update web --global --no-service-lb-policy"), "Updated [")
    w.gcloud(f"{base} delete spray --location global")
    has(w.gcloud(f"{base} list --location global"), "Listed 0 items")


def certificates(w):
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=overspill test"]
        + ["-addext", "subjectAltName=DNS:any.example", "-keyout", w.path("key.pem"), "-out", w.path("cert.pem")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert made.returncode == 0
    printed = w.compute(f"ssl-certificates create cert --global --certificate {w.path('cert.pem')} --private-key {w.path('key.pem')}")
    has(printed, "Created [", "SELF_MANAGED")
    assert "PRIVATE KEY" not in w.compute("ssl-certificates describe cert --global")
    has(w.compute("ssl-policies create modern --profile MODERN --min-tls-version 1.2"), "modern")
    has(w.compute("target-https-proxies create tls --url-map web-map --ssl-certificates cert --ssl-policy modern"), "Created [")
    has(w.compute("target-https-proxies list"), "tls", "cert", "web-map")
    has(w.compute("target-https-proxies update tls --clear-ssl-policy"), "Updated [")
    assert "sslPolicy" not in w.json("target-https-proxies describe tls")
    has(w.compute("target-https-proxies delete tls"), "Deleted [")
    w.compute("ssl-policies delete modern")
    has(w.compute("ssl-certificates delete cert"), "Deleted [")
    has(w.compute("ssl-policies describe modern", code=1), "was not found")


def regional(w):
    create = f"backend-services create near --region {R} --health-checks basic --global-health-checks"
    has(w.compute(f"{create} --load-balancing-scheme INTERNAL_MANAGED --protocol HTTP"), "Created [")
    found = w.json(f"backend-services describe near --region {R}")
    assert found["region"].endswith(f"/regions/{R}") and found["loadBalancingScheme"] == "INTERNAL_MANAGED"
    has(w.compute(f"backend-services update near --region {R} --timeout 8"), "Updated [")
    has(w.compute(f"backend-services list --regions {R}"), "near")
    has(w.compute(f"backend-services delete near --region {R}"), "Deleted [")


# And back to nothing.


def nothing_left(w):
    for line in [
        "forwarding-rules delete web-rule --global",
        "target-http-proxies delete web-proxy",
        "url-maps delete web-map",
        "backend-services delete web --global",
        f"instance-groups unmanaged delete ig1 ig2 --zone {Z}",
        "health-checks delete basic --global",
    ]:
        has(w.compute(line), "Deleted [")
    w.overspill.rest("DELETE", f"/compute/v1/projects/{P}/global/httpHealthChecks/lhc")
    for name in ["vm1", "vm2", "vm3"]:
        machine_gone(w, name)
    left = w.overspill.now()
    assert left == EMPTY, f"the file is not what it was:\n{left!r}\n{EMPTY!r}"


QUICK = [machines, health_checks, groups, service, front, drain, several, nothing_left]
ALL = [
    machines,
    health_checks,
    health_checks_more,
    groups,
    groups_more,
    service,
    front,
    drain,
    effects,
    connections,
    update_backend,
    custom_metrics,
    update,
    edit,
    edit_map,
    import_export,
    several,
    get_health,
    lists,
    places,
    operations,
    add_and_remove,
    url_maps,
    proxies,
    default_rule,
    endpoint_groups,
    policies,
    certificates,
    regional,
    nothing_left,
]
# What not every gcloud has: IN_FLIGHT came in 569.0.0 [G 1.19].
OWN = [loads]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="?", default="target/debug/overspill")
    parser.add_argument("--transcript")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--own", action="store_true")
    arguments = parser.parse_args()
    cases = Cases()
    transcript = open(arguments.transcript, "w", encoding="utf-8") if arguments.transcript else None
    with tempfile.TemporaryDirectory() as folder, Overspill(arguments.binary, EMPTY, toys=3) as overspill:
        world = World(overspill, folder, transcript, own=arguments.binary if arguments.own else None)
        rest = ALL[:-1] + (OWN if arguments.own else []) + ALL[-1:]
        for case in QUICK if arguments.quick else rest:
            cases.run(case.__name__.replace("_", " "), case, world)
    cases.end()


if __name__ == "__main__":
    main()
