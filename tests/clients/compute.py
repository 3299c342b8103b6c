"""Google's own Python client, unmodified, drives Overspill from nothing to live traffic and back to nothing.

    python3 tests/clients/compute.py [path of the overspill binary]

The client needs its endpoint set and no credentials [G 12.14]. Prints `N passed, N failed`; exits 1 when one failed.
"""

import base64
import datetime
import ipaddress
import json
import ssl
import sys
import uuid

from harness import Cases, Load, Overspill, eventually, fetch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1 as api

P, Z, R = "my-project", "us-central1-a", "us-central1"
# A comment of the user, and the one key that a file must have.
EMPTY = "# mine, and it stays\nproxy:\n  zone: us-central1-a   # where I am\n"
WEB, PLAIN, TLS = 8080, 8090, 8443


class World:
    """Overspill with a client of each kind."""

    def __init__(self, overspill):
        self.overspill = overspill
        self.host = overspill.host
        self.origin = f"http://{overspill.admin}"
        self.base = f"{self.origin}/compute/v1/projects/{P}"
        self.clients = {}

    def __getattr__(self, kind):
        """`world.HealthChecks` is a HealthChecksClient."""
        if kind not in self.clients:
            make = getattr(api, f"{kind}Client")
            options = {"api_endpoint": self.origin}
            self.clients[kind] = make(credentials=AnonymousCredentials(), client_options=options)
        return self.clients[kind]

    def web(self):
        return self.BackendServices.get(project=P, backend_service="web")

    def group(self, name):
        return f"{self.base}/zones/{Z}/instanceGroups/{name}"

    def health(self, service, group):
        ask = api.ResourceGroupReference(group=group)
        found = self.BackendServices.get_health(
            project=P, backend_service=service, resource_group_reference_resource=ask
        )
        return [status.health_state for status in found.health_status]

    def changes_nothing(self, ask):
        """Runs what is refused and makes sure that the file is untouched."""
        before = self.overspill.now()
        ask()
        assert self.overspill.now() == before, "a refused change changed the file"


def refused(kind, ask, *words):
    """What the client raises; its text has each of the words."""
    try:
        ask()
    except kind as error:
        for word in words:
            assert word in str(error), f"{word!r} is not in {error}"
        return error
    raise AssertionError(f"not refused with {kind.__name__}")


def done(operation):
    """The client's own way to wait; it must not go and ask elsewhere [G 12.15]."""
    assert operation.done(), "an operation that is not done sends the client to Google's address"
    operation.result(timeout=30)
    return operation


# From nothing to traffic.


def health_check(w):
    check = api.HealthCheck(
        name="basic",
        type_="HTTP",
        check_interval_sec=1,
        timeout_sec=1,
        http_health_check=api.HTTPHealthCheck(port_specification="USE_SERVING_PORT", request_path="/healthz"),
    )
    operation = done(w.HealthChecks.insert(project=P, health_check_resource=check))
    assert operation.name
    found = w.HealthChecks.get(project=P, health_check="basic")
    assert (found.kind, found.name, found.type_) == ("compute#healthCheck", "basic", "HTTP")
    assert found.self_link == f"{w.base}/global/healthChecks/basic"
    assert found.id > 0 and found.creation_timestamp
    # Defaults that the servers fill in [G 4a].
    assert (found.healthy_threshold, found.unhealthy_threshold) == (2, 2)
    assert "basic" in w.overspill.now()


def instances(w):
    for name in ["vm1", "vm2", "vm3"]:
        instance = api.Instance(name=name, network_interfaces=[api.NetworkInterface(network_i_p=w.host)])
        done(w.Instances.insert(project=P, zone=Z, instance_resource=instance))
        found = w.Instances.get(project=P, zone=Z, instance=name)
        assert found.network_interfaces[0].network_i_p == w.host
        assert found.status == "RUNNING" and found.zone.endswith(f"/zones/{Z}")
    assert [i.name for i in w.Instances.list(project=P, zone=Z)] == ["vm1", "vm2", "vm3"]


def groups(w):
    for group, instance, port in zip(["ig1", "ig2", "ig3"], ["vm1", "vm2", "vm3"], w.overspill.toys):
        made = api.InstanceGroup(name=group)
        done(w.InstanceGroups.insert(project=P, zone=Z, instance_group_resource=made))
        link = f"{w.base}/zones/{Z}/instances/{instance}"
        add = api.InstanceGroupsAddInstancesRequest(instances=[api.InstanceReference(instance=link)])
        done(
            w.InstanceGroups.add_instances(
                project=P, zone=Z, instance_group=group, instance_groups_add_instances_request_resource=add
            )
        )
        found = w.InstanceGroups.get(project=P, zone=Z, instance_group=group)
        assert (found.size, list(found.named_ports)) == (1, []), found
        ports = api.InstanceGroupsSetNamedPortsRequest(
            fingerprint=found.fingerprint, named_ports=[api.NamedPort(name="http", port=port)]
        )
        done(
            w.InstanceGroups.set_named_ports(
                project=P, zone=Z, instance_group=group, instance_groups_set_named_ports_request_resource=ports
            )
        )
        found = w.InstanceGroups.get(project=P, zone=Z, instance_group=group)
        assert [(p.name, p.port) for p in found.named_ports] == [("http", port)]
        listed = list(
            w.InstanceGroups.list_instances(
                project=P,
                zone=Z,
                instance_group=group,
                instance_groups_list_instances_request_resource=api.InstanceGroupsListInstancesRequest(),
            )
        )
        assert [i.instance for i in listed] == [link] and listed[0].status == "RUNNING"


def backend_service(w):
    service = api.BackendService(
        name="web",
        load_balancing_scheme="EXTERNAL_MANAGED",
        protocol="HTTP",
        port_name="http",
        health_checks=[f"{w.base}/global/healthChecks/basic"],
        backends=[
            api.Backend(group=w.group("ig1"), balancing_mode="RATE", max_rate_per_instance=100),
            api.Backend(group=w.group("ig2"), balancing_mode="RATE", max_rate_per_instance=100),
        ],
    )
    done(w.BackendServices.insert(project=P, backend_service_resource=service))
    found = w.web()
    assert [b.group for b in found.backends] == [w.group("ig1"), w.group("ig2")]
    assert [b.capacity_scaler for b in found.backends] == [1.0, 1.0], "filled in by the server [G 1a]"
    assert (found.session_affinity, found.timeout_sec) == ("NONE", 30)
    assert found.load_balancing_scheme == "EXTERNAL_MANAGED" and found.fingerprint
    assert found.health_checks == [f"{w.base}/global/healthChecks/basic"]


def front(w, name, service, port, **scheme):
    """URL map, proxy and forwarding rule; what is in the file then is what serves."""
    service = f"{w.base}/global/backendServices/{service}"
    done(w.UrlMaps.insert(project=P, url_map_resource=api.UrlMap(name=f"{name}-map", default_service=service)))
    url_map = w.UrlMaps.get(project=P, url_map=f"{name}-map")
    assert url_map.default_service == service and url_map.fingerprint
    proxy = api.TargetHttpProxy(name=f"{name}-proxy", url_map=url_map.self_link)
    done(w.TargetHttpProxies.insert(project=P, target_http_proxy_resource=proxy))
    target = w.TargetHttpProxies.get(project=P, target_http_proxy=f"{name}-proxy")
    assert target.url_map == url_map.self_link
    rule = api.ForwardingRule(
        name=f"{name}-rule", target=target.self_link, I_p_address=w.host, port_range=str(port), **scheme
    )
    done(w.GlobalForwardingRules.insert(project=P, forwarding_rule_resource=rule))
    found = w.GlobalForwardingRules.get(project=P, forwarding_rule=f"{name}-rule")
    assert found.port_range == f"{port}-{port}" and found.I_p_protocol == "TCP"
    assert (found.I_p_address, found.target) == (w.host, target.self_link)
    return found


def traffic(w):
    rule = front(w, "web", "web", WEB, load_balancing_scheme="EXTERNAL_MANAGED")
    assert rule.load_balancing_scheme == "EXTERNAL_MANAGED"
    for group in ["ig1", "ig2"]:
        eventually("it is healthy", lambda group=group: w.health("web", w.group(group)) == ["HEALTHY"])
    served = set()

    def both():
        status, backend, _ = fetch(f"{w.host}:{WEB}")
        assert status == 200
        served.add(backend)
        return len(served) == 2

    eventually("both backends serve", both)
    assert served == {f"backend-{port}" for port in w.overspill.toys[:2]}, served


def default_scheme(w):
    """Without a scheme Google makes it EXTERNAL, the classic one."""
    service = api.BackendService(
        name="plain", port_name="http", health_checks=[f"{w.base}/global/healthChecks/basic"]
    )
    done(w.BackendServices.insert(project=P, backend_service_resource=service))
    found = w.BackendServices.get(project=P, backend_service="plain")
    assert (found.load_balancing_scheme, found.protocol) == ("EXTERNAL", "HTTP")
    found.backends = [api.Backend(group=w.group("ig3"))]
    done(w.BackendServices.update(project=P, backend_service="plain", backend_service_resource=found))
    found = w.BackendServices.get(project=P, backend_service="plain")
    backend = found.backends[0]
    assert (backend.balancing_mode, backend.capacity_scaler) == ("UTILIZATION", 1.0)
    assert abs(backend.max_utilization - 0.8) < 1e-6
    rule = front(w, "plain", "plain", PLAIN)
    assert rule.load_balancing_scheme == "EXTERNAL"
    eventually("it serves", lambda: fetch(f"{w.host}:{PLAIN}")[:2] == (200, f"backend-{w.overspill.toys[2]}"))


def tls(w):
    """A certificate with its key goes in, serves, and its key never comes out."""
    certificate, key = self_signed(w.host)
    body = api.SslCertificate(name="cert", certificate=certificate, private_key=key)
    done(w.SslCertificates.insert(project=P, ssl_certificate_resource=body))
    found = w.SslCertificates.get(project=P, ssl_certificate="cert")
    assert found.certificate.strip() == certificate.strip() and not found.private_key
    status, listed = w.overspill.rest("GET", f"/compute/v1/projects/{P}/global/sslCertificates")
    assert status == 200 and "PRIVATE KEY" not in json.dumps(listed) and len(listed["items"]) == 1
    proxy = api.TargetHttpsProxy(name="tls", url_map="global/urlMaps/web-map", ssl_certificates=[found.self_link])
    done(w.TargetHttpsProxies.insert(project=P, target_https_proxy_resource=proxy))
    rule = api.ForwardingRule(
        name="tls-rule",
        load_balancing_scheme="EXTERNAL_MANAGED",
        I_p_address=w.host,
        port_range=str(TLS),
        target="global/targetHttpsProxies/tls",
    )
    done(w.GlobalForwardingRules.insert(project=P, forwarding_rule_resource=rule))
    import http.client

    trust = ssl.create_default_context(cadata=certificate)

    def serves():
        connection = http.client.HTTPSConnection(w.host, TLS, context=trust, timeout=30)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except ConnectionError:
            return False
        finally:
            connection.close()

    eventually("it serves over TLS", serves)
    policy = api.SslPolicy(name="modern", profile="MODERN", min_tls_version="TLS_1_2")
    done(w.SslPolicies.insert(project=P, ssl_policy_resource=policy))
    use = api.SslPolicyReference(ssl_policy=f"{w.base}/global/sslPolicies/modern")
    done(
        w.TargetHttpsProxies.set_ssl_policy(
            project=P, target_https_proxy="tls", ssl_policy_reference_resource=use
        )
    )
    assert w.TargetHttpsProxies.get(project=P, target_https_proxy="tls").ssl_policy.endswith("/sslPolicies/modern")
    refused(exceptions.BadRequest, lambda: w.SslPolicies.delete(project=P, ssl_policy="modern"), "already being used")
    eventually("it serves under the policy", serves)


def self_signed(host):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "overspill test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


# Changes of what serves.


def drain(w):
    """A patch of capacityScaler to 0 takes a backend out of a running load; no request fails [G 1.2]."""
    one, two = (f"backend-{port}" for port in w.overspill.toys[:2])
    with Load(f"{w.host}:{WEB}") as load:
        eventually("both serve", lambda: {one, two} <= load.count().keys())

        def scale(scaler):
            web = w.web()
            for backend in web.backends:
                if backend.group == w.group("ig2"):
                    backend.capacity_scaler = scaler
            change = api.BackendService(fingerprint=web.fingerprint, backends=web.backends)
            done(w.BackendServices.patch(project=P, backend_service="web", backend_service_resource=change))
            return [b.capacity_scaler for b in w.web().backends]

        assert scale(0.0) == [1.0, 0.0], "zero is sent and shown"

        def only_one():
            before = load.count()
            eventually("200 more answers", lambda: sum(load.since(before).values()) >= 200)
            return load.since(before).keys() == {one}

        eventually("only the first serves", only_one)
        assert scale(1.0) == [1.0, 1.0]
        before = load.count()
        eventually("both serve again", lambda: {one, two} <= load.since(before).keys())
    assert not load.failures, load.failures[:5]


def patch_and_update(w):
    web = w.web()
    patch = api.BackendService(fingerprint=web.fingerprint, timeout_sec=12, session_affinity="GENERATED_COOKIE")
    done(w.BackendServices.patch(project=P, backend_service="web", backend_service_resource=patch))
    found = w.web()
    assert (found.timeout_sec, found.session_affinity) == (12, "GENERATED_COOKIE")
    assert len(found.backends) == 2, "what a patch does not name stays"
    # Stale now, in a patch and in an update.
    stale = api.BackendService(fingerprint=web.fingerprint, timeout_sec=13)
    w.changes_nothing(
        lambda: refused(
            exceptions.PreconditionFailed,
            lambda: w.BackendServices.patch(project=P, backend_service="web", backend_service_resource=stale),
        )
    )
    web.timeout_sec = 13
    w.changes_nothing(
        lambda: refused(
            exceptions.PreconditionFailed,
            lambda: w.BackendServices.update(project=P, backend_service="web", backend_service_resource=web),
        )
    )
    # An echo of all that was read changes nothing.
    before = w.overspill.now()
    done(w.BackendServices.update(project=P, backend_service="web", backend_service_resource=w.web()))
    assert w.overspill.now() == before
    found.session_affinity, found.timeout_sec = "NONE", 30
    done(w.BackendServices.update(project=P, backend_service="web", backend_service_resource=found))
    assert (w.web().session_affinity, w.web().timeout_sec) == ("NONE", 30)


def url_map(w):
    found = w.UrlMaps.get(project=P, url_map="web-map")
    found.host_rules = [api.HostRule(hosts=["plain.example"], path_matcher="m")]
    plain = f"{w.base}/global/backendServices/web"
    found.path_matchers = [
        api.PathMatcher(
            name="m",
            default_service=plain,
            path_rules=[
                api.PathRule(
                    paths=["/old/*"],
                    url_redirect=api.HttpRedirectAction(path_redirect="/new", strip_query=False),
                )
            ],
        )
    ]
    ask = api.UrlMapsValidateRequest(resource=found)
    answer = w.UrlMaps.validate(project=P, url_map="web-map", url_maps_validate_request_resource=ask)
    assert answer.result.load_succeeded and answer.result.test_passed, answer
    found.tests = [api.UrlMapTest(host="plain.example", path="/", service=plain)]
    done(w.UrlMaps.update(project=P, url_map="web-map", url_map_resource=found))
    eventually("it redirects", lambda: fetch(f"{w.host}:{WEB}", "/old/x", "plain.example")[0] == 301)
    current = w.UrlMaps.get(project=P, url_map="web-map")
    clear = api.UrlMap(fingerprint=current.fingerprint, default_service=plain)
    clear.path_matchers, clear.host_rules, clear.tests = [], [], []
    # What the client cannot say, an empty list, is said in plain REST.
    status, answer = w.overspill.rest(
        "PATCH",
        f"/compute/v1/projects/{P}/global/urlMaps/web-map",
        {"fingerprint": current.fingerprint, "pathMatchers": [], "hostRules": [], "tests": []},
    )
    assert (status, answer["status"]) == (200, "DONE"), answer
    assert not w.UrlMaps.get(project=P, url_map="web-map").path_matchers
    assert fetch(f"{w.host}:{WEB}", "/old/x", "plain.example")[0] == 200
    change = api.UrlMapReference(url_map=f"{w.base}/global/urlMaps/plain-map")
    refused(
        exceptions.BadRequest,
        lambda: w.TargetHttpProxies.set_url_map(
            project=P,
            target_http_proxy="web-proxy",
            url_map_reference_resource=api.UrlMapReference(url_map=f"{w.base}/global/urlMaps/none"),
        ),
    )
    change = api.UrlMapReference(url_map=f"{w.base}/global/urlMaps/web-map")
    done(
        w.TargetHttpProxies.set_url_map(
            project=P, target_http_proxy="web-proxy", url_map_reference_resource=change
        )
    )


# Lists.


def lists(w):
    names = [s.name for s in w.BackendServices.list(project=P)]
    assert names == ["plain", "web"], names

    def filtered(text, client=w.BackendServices):
        return [s.name for s in client.list(request={"project": P, "filter": text})]

    assert filtered("name=web") == ["web"]
    assert filtered('name = "web"') == ["web"]
    assert filtered("name eq web") == ["web"]
    assert filtered('name eq ".*\\bweb\\b.*"') == ["web"]
    assert filtered("name eq we") == [], "RE2, over the whole value [G 12.5]"
    assert filtered("name ne web") == ["plain"]
    assert filtered("(name = web) OR (name = plain)") == ["plain", "web"]
    assert filtered("loadBalancingScheme=EXTERNAL_MANAGED") == ["web"]
    assert filtered("timeoutSec > 10") == ["plain", "web"]
    refused(exceptions.BadRequest, lambda: filtered("name = "), "filter")
    ask = {"project": P, "max_results": 1}
    pages = list(w.BackendServices.list(request=ask).pages)
    assert [[s.name for s in page.items] for page in pages] == [["plain"], ["web"]]
    assert pages[0].next_page_token and not pages[1].next_page_token
    assert pages[0].kind == "compute#backendServiceList"
    assert [s.name for s in w.BackendServices.list(request=ask)] == names
    newest = w.BackendServices.list(request={"project": P, "order_by": "creationTimestamp desc"})
    assert [s.name for s in newest] == ["plain", "web"], "the plain one is the later"
    refused(exceptions.BadRequest, lambda: list(w.BackendServices.list(request={"project": P, "max_results": 501})))
    assert [z.name for z in w.Zones.list(request={"project": P, "filter": f"name={Z}"})] == [Z]
    assert w.Zones.get(project=P, zone=Z).region.endswith(f"/regions/{R}")
    assert w.Regions.get(project=P, region=R).status == "UP"
    assert w.Projects.get(project=P).name == P


def aggregated(w):
    scopes = dict(w.BackendServices.aggregated_list(project=P))
    assert {k: [s.name for s in v.backend_services] for k, v in scopes.items() if v.backend_services} == {
        "global": ["plain", "web"]
    }
    everywhere = dict(
        w.BackendServices.aggregated_list(request={"project": P, "include_all_scopes": True, "max_results": 500})
    )
    empty = everywhere[f"regions/{R}"]
    assert empty.warning.code == "NO_RESULTS_ON_PAGE" and not empty.backend_services
    groups = dict(w.InstanceGroups.aggregated_list(project=P))
    assert [g.name for g in groups[f"zones/{Z}"].instance_groups] == ["ig1", "ig2", "ig3"]


# What is refused.


def refusals(w):
    web = api.BackendService(name="web")

    def insert(service, **more):
        w.BackendServices.insert(project=P, backend_service_resource=service, **more)

    def new(**fields):
        fields.setdefault("health_checks", [f"{w.base}/global/healthChecks/basic"])
        return api.BackendService(name="new", load_balancing_scheme="EXTERNAL_MANAGED", **fields)

    def backend(**fields):
        return [api.Backend(group=w.group("ig3"), **fields)]

    def all_of_them():
        error = refused(exceptions.Conflict, lambda: insert(web), "already exists")
        assert error.errors[0]["reason"] == "alreadyExists", error.errors
        missing = f"projects/{P}/global/backendServices/none"
        get = lambda: w.BackendServices.get(project=P, backend_service="none")
        error = refused(exceptions.NotFound, get, f"The resource '{missing}' was not found")
        assert error.errors[0]["reason"] == "notFound"
        refused(exceptions.NotFound, lambda: w.BackendServices.delete(project=P, backend_service="none"))
        refused(
            exceptions.NotFound,
            lambda: w.BackendServices.patch(
                project=P, backend_service="none", backend_service_resource=api.BackendService(timeout_sec=3)
            ),
        )
        for service, field in [
            (new(timeout_sec=2147483648 - 1, backends=backend(capacity_scaler=0.05)), "backends[0].capacityScaler"),
            (new(backends=backend(balancing_mode="RATE")), "backends[0]"),
            (new(backends=backend(max_utilization=1.5)), "backends[0].maxUtilization"),
            (new(affinity_cookie_ttl_sec=1209601, session_affinity="GENERATED_COOKIE"), "affinityCookieTtlSec"),
            (new(timeout_sec=-1), "timeoutSec"),
            (new(protocol="GOPHER"), "protocol"),
            (new(health_checks=[f"{w.base}/global/healthChecks/none"]), "healthChecks"),
        ]:
            error = refused(exceptions.BadRequest, lambda service=service: insert(service), f"resource.{field}")
            assert error.errors[0]["reason"] == "invalid" and error.errors[0]["domain"] == "global"
            assert error.errors[0]["location"].startswith(f"resource.{field}"), error.errors
        refused(exceptions.BadRequest, lambda: insert(api.BackendService(name="Bad_Name")), "resource.name")
        refused(exceptions.BadRequest, lambda: insert(api.BackendService()), "resource.name")
        for name, ask in [
            ("healthChecks/basic", lambda: w.HealthChecks.delete(project=P, health_check="basic")),
            ("backendServices/web", lambda: w.BackendServices.delete(project=P, backend_service="web")),
            ("urlMaps/web-map", lambda: w.UrlMaps.delete(project=P, url_map="web-map")),
            ("targetHttpProxies/web-proxy", lambda: w.TargetHttpProxies.delete(project=P, target_http_proxy="web-proxy")),
            ("instanceGroups/ig1", lambda: w.InstanceGroups.delete(project=P, zone=Z, instance_group="ig1")),
            ("instances/vm1", lambda: w.Instances.delete(project=P, zone=Z, instance="vm1")),
        ]:
            error = refused(exceptions.BadRequest, ask, name, "is already being used by")
            assert error.errors[0]["reason"] == "resourceInUseByAnotherResource", error.errors

    w.changes_nothing(all_of_them)


# Operations.


def operations(w):
    check = api.HealthCheck(name="second", type_="TCP", tcp_health_check=api.TCPHealthCheck(port=80))
    request = {"project": P, "health_check_resource": check, "request_id": str(uuid.uuid4())}
    first = w.HealthChecks.insert_unary(request=request)
    assert first.status == api.Operation.Status.DONE and first.progress == 100
    assert (first.operation_type, first.kind) == ("insert", "compute#operation")
    assert first.target_link == f"{w.base}/global/healthChecks/second"
    assert first.target_id == w.HealthChecks.get(project=P, health_check="second").id
    again = w.HealthChecks.insert_unary(request=request)
    assert again.name == first.name, "the same request is the same operation [G 12.4]"
    other = {**request, "request_id": str(uuid.uuid4())}
    refused(exceptions.Conflict, lambda: w.HealthChecks.insert_unary(request=other))
    nil = {**request, "request_id": str(uuid.UUID(int=0))}
    refused(exceptions.BadRequest, lambda: w.HealthChecks.insert_unary(request=nil), "requestId")
    for ask in [w.GlobalOperations.get, w.GlobalOperations.wait]:
        found = ask(project=P, operation=first.name)
        assert (found.name, found.status) == (first.name, api.Operation.Status.DONE)
    listed = [o.name for o in w.GlobalOperations.list(project=P)]
    assert first.name in listed
    wanted = {"project": P, "filter": f"name={first.name}"}
    assert [o.name for o in w.GlobalOperations.list(request=wanted)] == [first.name]
    everywhere = dict(w.GlobalOperations.aggregated_list(project=P))
    assert first.name in [o.name for o in everywhere["global"].operations]
    assert len(everywhere[f"zones/{Z}"].operations) >= 6
    zonal = next(iter(w.ZoneOperations.list(project=P, zone=Z)))
    assert w.ZoneOperations.wait(project=P, zone=Z, operation=zonal.name).zone.endswith(f"/zones/{Z}")
    refused(exceptions.NotFound, lambda: w.GlobalOperations.get(project=P, operation="operation-none"))
    # By its number as well as by its name [G 12.7].
    assert w.HealthChecks.get(project=P, health_check=str(first.target_id)).name == "second"
    done(w.HealthChecks.delete(project=P, health_check=str(first.target_id)))
    refused(exceptions.NotFound, lambda: w.HealthChecks.get(project=P, health_check="second"))
    w.GlobalOperations.delete(project=P, operation=first.name)
    refused(exceptions.NotFound, lambda: w.GlobalOperations.get(project=P, operation=first.name))


# Network endpoint groups and regions.


def endpoint_groups(w):
    one, two = w.overspill.toys[1:3]
    neg = api.NetworkEndpointGroup(name="neg", network_endpoint_type="NON_GCP_PRIVATE_IP_PORT", default_port=one)
    done(w.NetworkEndpointGroups.insert(project=P, zone=Z, network_endpoint_group_resource=neg))
    link = f"{w.base}/zones/{Z}/networkEndpointGroups/neg"

    def attach(*ports):
        endpoints = [api.NetworkEndpoint(ip_address=w.host, port=port) for port in ports]
        request = api.NetworkEndpointGroupsAttachEndpointsRequest(network_endpoints=endpoints)
        done(
            w.NetworkEndpointGroups.attach_network_endpoints(
                project=P,
                zone=Z,
                network_endpoint_group="neg",
                network_endpoint_groups_attach_endpoints_request_resource=request,
            )
        )

    def detach(port):
        endpoints = [api.NetworkEndpoint(ip_address=w.host, port=port)]
        request = api.NetworkEndpointGroupsDetachEndpointsRequest(network_endpoints=endpoints)
        done(
            w.NetworkEndpointGroups.detach_network_endpoints(
                project=P,
                zone=Z,
                network_endpoint_group="neg",
                network_endpoint_groups_detach_endpoints_request_resource=request,
            )
        )

    def ports():
        found = w.NetworkEndpointGroups.list_network_endpoints(
            project=P,
            zone=Z,
            network_endpoint_group="neg",
            network_endpoint_groups_list_endpoints_request_resource=api.NetworkEndpointGroupsListEndpointsRequest(),
        )
        return [(e.network_endpoint.ip_address, e.network_endpoint.port) for e in found]

    attach(one, two)
    assert ports() == [(w.host, one), (w.host, two)]
    assert w.NetworkEndpointGroups.get(project=P, zone=Z, network_endpoint_group="neg").size == 2
    plain = w.BackendServices.get(project=P, backend_service="plain")
    # A group of instances and one of endpoints do not go together in one service.
    plain.backends = [api.Backend(group=link, balancing_mode="RATE", max_rate_per_endpoint=10)]
    done(w.BackendServices.update(project=P, backend_service="plain", backend_service_resource=plain))
    served = set()

    def both():
        served.add(fetch(f"{w.host}:{PLAIN}")[1])
        return served >= {f"backend-{one}", f"backend-{two}"}

    eventually("both endpoints serve", both)
    eventually("they are healthy", lambda: w.health("plain", link) == ["HEALTHY", "HEALTHY"])
    detach(one)
    assert ports() == [(w.host, two)]
    eventually("the one is gone", lambda: all(fetch(f"{w.host}:{PLAIN}")[1] == f"backend-{two}" for _ in range(20)))
    refused(exceptions.BadRequest, lambda: detach(one))
    refused(
        exceptions.BadRequest,
        lambda: w.NetworkEndpointGroups.delete(project=P, zone=Z, network_endpoint_group="neg"),
        "already being used",
    )


def internet_group(w):
    neg = api.NetworkEndpointGroup(name="far", network_endpoint_type="INTERNET_IP_PORT", default_port=w.overspill.toys[0])
    done(w.GlobalNetworkEndpointGroups.insert(project=P, network_endpoint_group_resource=neg))
    request = api.GlobalNetworkEndpointGroupsAttachEndpointsRequest(
        network_endpoints=[api.NetworkEndpoint(ip_address=w.host)]
    )
    done(
        w.GlobalNetworkEndpointGroups.attach_network_endpoints(
            project=P,
            network_endpoint_group="far",
            global_network_endpoint_groups_attach_endpoints_request_resource=request,
        )
    )
    found = list(w.GlobalNetworkEndpointGroups.list_network_endpoints(project=P, network_endpoint_group="far"))
    assert [e.network_endpoint.ip_address for e in found] == [w.host]
    service = api.BackendService(name="beyond", load_balancing_scheme="EXTERNAL_MANAGED", protocol="HTTP")
    group = f"{w.base}/global/networkEndpointGroups/far"
    service.backends = [api.Backend(group=group)]
    done(w.BackendServices.insert(project=P, backend_service_resource=service))
    assert w.BackendServices.get(project=P, backend_service="beyond").backends[0].group == group
    assert isinstance(w.health("beyond", group), list)
    done(w.BackendServices.delete(project=P, backend_service="beyond"))
    done(w.GlobalNetworkEndpointGroups.delete(project=P, network_endpoint_group="far"))


def regional(w):
    service = api.BackendService(
        name="near",
        load_balancing_scheme="INTERNAL_MANAGED",
        protocol="HTTP",
        port_name="http",
        health_checks=[f"{w.base}/global/healthChecks/basic"],
        backends=[api.Backend(group=w.group("ig1"), balancing_mode="RATE", max_rate_per_instance=100)],
    )
    client = w.RegionBackendServices
    done(client.insert(project=P, region=R, backend_service_resource=service))
    found = client.get(project=P, region=R, backend_service="near")
    assert found.region == f"{w.base}/regions/{R}"
    assert found.self_link == f"{w.base}/regions/{R}/backendServices/near"
    assert [s.name for s in client.list(project=P, region=R)] == ["near"]
    assert "near" not in [s.name for s in w.BackendServices.list(project=P)]
    scopes = dict(w.BackendServices.aggregated_list(project=P))
    assert [s.name for s in scopes[f"regions/{R}"].backend_services] == ["near"]
    change = api.BackendService(fingerprint=found.fingerprint, timeout_sec=7)
    done(client.patch(project=P, region=R, backend_service="near", backend_service_resource=change))
    found = client.get(project=P, region=R, backend_service="near")
    assert found.timeout_sec == 7
    ask = api.ResourceGroupReference(group=w.group("ig1"))
    health = client.get_health(project=P, region=R, backend_service="near", resource_group_reference_resource=ask)
    assert health.kind == "compute#backendServiceGroupHealth"
    operation = next(iter(w.RegionOperations.list(project=P, region=R)))
    assert operation.region.endswith(f"/regions/{R}")
    refused(exceptions.NotFound, lambda: w.BackendServices.get(project=P, backend_service="near"))
    done(client.delete(project=P, region=R, backend_service="near"))
    refused(exceptions.NotFound, lambda: client.get(project=P, region=R, backend_service="near"))


# What the client cannot say, in plain REST.


def fingerprints(w):
    """Both alphabets of base64 are the same bytes [G 10.2b, W21]."""
    path = f"/compute/v1/projects/{P}/global/backendServices/web"
    different = turn = 0
    # Whether the alphabets differ in a fingerprint is chance; about one in three does.
    while different < 2 and turn < 400:
        _, web = w.overspill.rest("GET", path)
        raw = base64.b64decode(web["fingerprint"].replace("-", "+").replace("_", "/"))
        sent = (base64.urlsafe_b64encode if turn % 2 else base64.b64encode)(raw).decode()
        different += sent != web["fingerprint"]
        status, answer = w.overspill.rest("PATCH", path, {"fingerprint": sent, "timeoutSec": 40 + turn})
        assert status == 200, answer
        turn += 1
    assert different == 2
    for wrong, expected in [("AAAAAAAAAAA=", 412), ("", 412)]:
        status, answer = w.overspill.rest("PATCH", path, {"fingerprint": wrong, "timeoutSec": 3})
        assert status == expected, answer
        assert answer["error"]["errors"][0]["reason"] == "conditionNotMet", answer


def nulls(w):
    path = f"/compute/v1/projects/{P}/global/backendServices/web"
    rest = w.overspill.rest
    assert rest("PATCH", path, {"logConfig": {"enable": True, "sampleRate": 0.5}, "timeoutSec": 9})[0] == 200
    assert rest("GET", path)[1]["logConfig"] == {"enable": True, "sampleRate": 0.5}
    # A patch goes into objects [G 12.2].
    assert rest("PATCH", path, {"logConfig": {"sampleRate": 0.25}})[0] == 200
    assert rest("GET", path)[1]["logConfig"] == {"enable": True, "sampleRate": 0.25}
    assert rest("PATCH", path, {"logConfig": None, "timeoutSec": None})[0] == 200
    web = rest("GET", path)[1]
    assert "logConfig" not in web and web["timeoutSec"] == 30, web
    assert rest("PATCH", path, {"customRequestHeaders": ["X-A: b"]})[0] == 200
    assert rest("GET", path)[1]["customRequestHeaders"] == ["X-A: b"]
    assert rest("PATCH", path, {"customRequestHeaders": []})[0] == 200
    assert not rest("GET", path)[1].get("customRequestHeaders")


def wrong_requests(w):
    rest, base = w.overspill.rest, f"/compute/v1/projects/{P}/global"

    def expect(status, reason, *request):
        found, answer = rest(*request)
        assert found == status, (request, found, answer)
        assert answer["error"]["code"] == status and answer["error"]["message"], answer
        if reason:
            assert answer["error"]["errors"][0]["reason"] == reason, answer

    def all_of_them():
        service = {"name": "other", "colour": "blue"}
        expect(400, "invalid", "POST", f"{base}/backendServices", service)
        expect(400, None, "PATCH", f"{base}/backendServices/web", {"timeOutSec": 3})
        expect(400, None, "POST", f"{base}/backendServices", "{not json")
        expect(400, None, "POST", f"{base}/backendServices", "[]")
        expect(400, None, "POST", f"{base}/backendServices?colour=blue", {"name": "other"})
        expect(405, None, "PUT", f"{base}/backendServices", {"name": "other"})
        expect(405, None, "DELETE", f"{base}/backendServices")
        expect(405, None, "PATCH", f"/compute/v1/projects/{P}/zones/{Z}/instanceGroups/ig1", {})
        expect(404, None, "GET", f"{base}/nothings")
        expect(404, None, "GET", "/compute/v2/projects")
        expect(400, None, "POST", f"{base}/backendServices/web/getHealth", {"group": "none"})

    w.changes_nothing(all_of_them)


def shapes(w):
    import http.client

    def raw(path):
        connection = http.client.HTTPConnection(w.overspill.admin, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("content-type"), body

    path = f"/compute/v1/projects/{P}/global/backendServices/web"
    status, kind, pretty = raw(path)
    assert status == 200 and kind.startswith("application/json") and "\n" in pretty.strip()
    status, _, short = raw(f"{path}?prettyPrint=false&alt=json")
    assert status == 200 and "\n" not in short.strip() and json.loads(short) == json.loads(pretty)
    assert json.loads(raw(f"{path}?fields=name,backends(group)")[2]) == {
        "name": "web",
        "backends": [{"group": w.group("ig1")}, {"group": w.group("ig2")}],
    }
    assert raw(f"{path}?alt=xml")[0] == 400
    assert json.loads(pretty)["id"].isdigit(), "int64 is a string of digits"
    for version in ["beta", "alpha"]:
        found = json.loads(raw(f"/compute/{version}/projects/{P}/global/backendServices/web")[2])
        assert found["selfLink"] == f"{w.origin}/compute/{version}/projects/{P}/global/backendServices/web"


def legacy_checks(w):
    rest, path = w.overspill.rest, f"/compute/v1/projects/{P}/global/httpHealthChecks"
    assert rest("POST", path, {"name": "old", "requestPath": "/healthz"})[0] == 200
    found = rest("GET", f"{path}/old")[1]
    assert (found["kind"], found["port"], found["checkIntervalSec"]) == ("compute#httpHealthCheck", 80, 5)
    assert rest("PATCH", f"{path}/old", {"port": 81})[0] == 200
    assert rest("PUT", f"{path}/old", {"name": "old", "port": 82})[0] == 200
    found = rest("GET", f"{path}/old")[1]
    assert (found["port"], found["requestPath"]) == (82, "/"), "an update replaces"
    assert rest("DELETE", f"{path}/old")[0] == 200
    assert rest("GET", f"{path}/old")[0] == 404


def service_policy(w):
    rest, path = w.overspill.rest, f"/v1/projects/{P}/locations/global/serviceLbPolicies"
    status, answer = rest("POST", f"{path}?serviceLbPolicyId=spray", {"loadBalancingAlgorithm": "SPRAY_TO_REGION"})
    assert status == 200 and answer["done"] is True, answer
    name = f"projects/{P}/locations/global/serviceLbPolicies/spray"
    assert rest("GET", f"{path}/spray")[1]["name"] == name
    assert [p["name"] for p in rest("GET", path)[1]["serviceLbPolicies"]] == [name]
    service = f"/compute/v1/projects/{P}/global/backendServices/web"
    assert rest("PATCH", service, {"serviceLbPolicy": f"//networkservices.googleapis.com/{name}"})[0] == 200
    assert rest("GET", service)[1]["serviceLbPolicy"].endswith(name)
    assert rest("DELETE", f"{path}/spray")[0] == 400
    update = {"autoCapacityDrain": {"enable": True}}
    assert rest("PATCH", f"{path}/spray?updateMask=autoCapacityDrain", update)[0] == 200
    found = rest("GET", f"{path}/spray")[1]
    assert found["autoCapacityDrain"] == {"enable": True}
    assert found["loadBalancingAlgorithm"] == "SPRAY_TO_REGION"
    assert rest("PATCH", service, {"serviceLbPolicy": None})[0] == 200
    assert rest("DELETE", f"{path}/spray")[0] == 200


# And back to nothing.


def nothing_left(w):
    groups = w.InstanceGroups
    for delete in [
        lambda: w.GlobalForwardingRules.delete(project=P, forwarding_rule="tls-rule"),
        lambda: w.GlobalForwardingRules.delete(project=P, forwarding_rule="plain-rule"),
        lambda: w.GlobalForwardingRules.delete(project=P, forwarding_rule="web-rule"),
        lambda: w.TargetHttpsProxies.delete(project=P, target_https_proxy="tls"),
        lambda: w.SslPolicies.delete(project=P, ssl_policy="modern"),
        lambda: w.SslCertificates.delete(project=P, ssl_certificate="cert"),
        lambda: w.TargetHttpProxies.delete(project=P, target_http_proxy="plain-proxy"),
        lambda: w.TargetHttpProxies.delete(project=P, target_http_proxy="web-proxy"),
        lambda: w.UrlMaps.delete(project=P, url_map="plain-map"),
        lambda: w.UrlMaps.delete(project=P, url_map="web-map"),
        lambda: w.BackendServices.delete(project=P, backend_service="plain"),
        lambda: w.BackendServices.delete(project=P, backend_service="web"),
        lambda: w.NetworkEndpointGroups.delete(project=P, zone=Z, network_endpoint_group="neg"),
        lambda: groups.delete(project=P, zone=Z, instance_group="ig1"),
        lambda: groups.delete(project=P, zone=Z, instance_group="ig2"),
        lambda: groups.delete(project=P, zone=Z, instance_group="ig3"),
        lambda: w.Instances.delete(project=P, zone=Z, instance="vm1"),
        lambda: w.Instances.delete(project=P, zone=Z, instance="vm2"),
        lambda: w.Instances.delete(project=P, zone=Z, instance="vm3"),
        lambda: w.HealthChecks.delete(project=P, health_check="basic"),
    ]:
        done(delete())
    assert list(w.BackendServices.list(project=P)) == []
    left = w.overspill.now()
    assert left == EMPTY, f"the file is not what it was:\n{left!r}\n{EMPTY!r}"


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/debug/overspill"
    cases = Cases()
    with Overspill(binary, EMPTY, toys=3) as overspill:
        world = World(overspill)
        for case in [
            health_check,
            instances,
            groups,
            backend_service,
            traffic,
            default_scheme,
            tls,
            drain,
            patch_and_update,
            url_map,
            lists,
            aggregated,
            refusals,
            operations,
            endpoint_groups,
            internet_group,
            regional,
            fingerprints,
            nulls,
            wrong_requests,
            shapes,
            legacy_checks,
            service_policy,
            nothing_left,
        ]:
            cases.run(case.__name__.replace("_", " "), case, world)
    cases.end()


if __name__ == "__main__":
    main()
