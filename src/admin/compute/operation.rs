//! Operations: what a change leaves behind [G 12.9]. Each is done when the client hears of it [G 12.15].
//!
//! The newest [`KEPT`] can be asked for. A request that comes again with the same `requestId` gets the operation of the
//! first [G 12.4].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::error::ApiError;
use super::path::{Place, Resource, Scope, link};
use crate::model::timestamp::Timestamp;

/// Operations that are kept; one more pushes out the oldest.
pub(crate) const KEPT: usize = 1000;
/// How long a `requestId` is known, as long as [`KEPT`] newer ones have not pushed it out.
pub(crate) const REQUEST_AGE: Duration = Duration::from_hours(1);

/// What was done, as the one who did it says.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// `insert`, `delete`, `update`, `patch` or the name of a verb.
    pub(crate) operation_type: &'static str,
    /// The resource that was changed.
    pub(crate) target: Resource,
    /// The resource's id.
    pub(crate) target_id: u64,
    /// Who asked.
    pub(crate) user: String,
    /// When the request came.
    pub(crate) started: SystemTime,
    /// The request's `requestId`.
    pub(crate) request: Option<RequestId>,
    /// Why nothing was changed after all.
    pub(crate) error: Option<ApiError>,
    /// The resource as it is now, for the Network Services API; null when it is gone.
    pub(crate) response: Value,
}

/// One finished operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Unique and rising, also over restarts as long as the clock does not go back: microseconds of the wall clock.
    pub(crate) id: u64,
    /// `operation-{milliseconds}-{number}`.
    pub(crate) name: String,
    /// What was done.
    pub(crate) done: Done,
    /// When it was finished.
    pub(crate) ended: SystemTime,
}

/// A request's UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(u128);

impl RequestId {
    /// Reads `requestId` of a query.
    ///
    /// # Errors
    ///
    /// 400 for what is no UUID, and for the one of zeros [G 12.4].
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let refused = || {
            let why = "Must be a UUID other than 00000000-0000-0000-0000-000000000000.";
            ApiError::invalid_field("requestId", text, why)
        };
        let mut lengths = text.split('-').map(str::len);
        let is_uuid = [8, 4, 4, 4, 12].into_iter().all(|length| lengths.next() == Some(length))
            && lengths.next().is_none()
            && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        let digits: String = text.chars().filter(|c| *c != '-').take(32).collect();
        match u128::from_str_radix(&digits, 16) {
            Ok(number) if is_uuid && number != 0 => Ok(Self(number)),
            _ => Err(refused()),
        }
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:032x}", self.0);
        let mut rest = &*digits;
        for (n, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            let (part, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            write!(f, "{}{part}", if n == 0 { "" } else { "-" })?;
            rest = after;
        }
        Ok(())
    }
}

/// The newest operations of this process, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    kept: VecDeque<Arc<Operation>>,
    /// Those with a `requestId`, which outlive a deletion of the operation. None failed.
    requests: VecDeque<Arc<Operation>>,
    newest: u64,
    count: u64,
}

impl Operations {
    /// Keeps an operation that ended `now`.
    pub(crate) fn keep(&mut self, done: Done, now: SystemTime) -> Arc<Operation> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(0).min(i64::MAX.unsigned_abs() / 2);
        self.newest = micros.max(self.newest.saturating_add(1));
        self.count = self.count.wrapping_add(1);
        let name = format!("operation-{}-{}", micros / 1000, self.count);
        let operation = Arc::new(Operation { id: self.newest, name, done, ended: now });
        push(&mut self.kept, &operation);
        if operation.done.request.is_some() && operation.done.error.is_none() {
            push(&mut self.requests, &operation);
        }
        operation
    }

    /// The operation of the first request with this UUID; the caller then changes nothing. `None`: it is new.
    ///
    /// # Errors
    ///
    /// 400 if the UUID was that of another change: to answer with that one's operation would hide this one.
    pub(crate) fn repeated(
        &self,
        request: RequestId,
        operation_type: &str,
        target: &Resource,
        now: SystemTime,
    ) -> Result<Option<Arc<Operation>>, ApiError> {
        let is_known = |operation: &&Arc<Operation>| {
            // A clock that went back makes nothing old.
            let age = now.duration_since(operation.ended).unwrap_or_default();
            operation.done.request == Some(request) && age <= REQUEST_AGE
        };
        let Some(first) = self.requests.iter().rev().find(is_known) else { return Ok(None) };
        // By number as well: after a deletion nothing tells its name any more.
        let Done { operation_type: kind, target: changed, target_id, .. } = &first.done;
        let is_same = changed == target || changed.place == target.place && target.id() == Some(*target_id);
        if *kind == operation_type && is_same {
            return Ok(Some(Arc::clone(first)));
        }
        let why = "It was the id of another request within the last hour.";
        Err(ApiError::invalid_field("requestId", &request.to_string(), why))
    }

    /// An operation by its name or id, in its own scope.
    pub(crate) fn get(&self, asked: &Resource) -> Option<&Arc<Operation>> {
        self.kept.iter().rev().find(|operation| operation.is(asked))
    }

    /// The operations of all scopes of the Compute API, oldest first.
    pub(crate) fn all<'a>(&'a self, project: &'a str) -> impl Iterator<Item = &'a Arc<Operation>> {
        self.kept.iter().filter(move |operation| operation.done.target.place.project == project)
    }

    /// Forgets an operation; whether it was there. Its `requestId` stays known.
    pub(crate) fn delete(&mut self, asked: &Resource) -> bool {
        let at = self.kept.iter().rposition(|operation| operation.is(asked));
        at.and_then(|at| self.kept.remove(at)).is_some()
    }
}

fn push(ring: &mut VecDeque<Arc<Operation>>, operation: &Arc<Operation>) {
    if ring.len() >= KEPT {
        ring.pop_front();
    }
    ring.push_back(Arc::clone(operation));
}

impl Operation {
    fn is(&self, asked: &Resource) -> bool {
        let place = &self.done.target.place;
        place.scope == asked.place.scope
            && place.project == asked.place.project
            && (self.name == asked.name || asked.id() == Some(self.id))
    }

    /// Its scope, for aggregated lists.
    pub(crate) const fn scope(&self) -> &Scope {
        &self.done.target.place.scope
    }

    fn path(&self) -> String {
        let Place { project, scope, .. } = &self.done.target.place;
        format!("projects/{project}/{scope}/operations/{}", self.name)
    }

    /// As the Compute API shows it [G 12.9]; `base` ends before `projects/`.
    pub(crate) fn view(&self, base: &str) -> Value {
        let Done { operation_type, target, target_id, user, started, request, error, .. } = &self.done;
        let (started, ended) = (millis(*started), millis(self.ended));
        let mut view = json!({
            "kind": "compute#operation",
            "id": self.id.to_string(),
            "name": self.name,
            "operationType": operation_type,
            "targetLink": target.self_link(base),
            "targetId": target_id.to_string(),
            "status": "DONE",
            "progress": 100,
            "user": user,
            "insertTime": started,
            "startTime": started,
            "endTime": ended,
            "selfLink": link(base, &self.path()),
        });
        let scope = match self.scope() {
            Scope::Region(_) => Some("region"),
            Scope::Zone(_) => Some("zone"),
            _ => None,
        };
        if let Some(key) = scope {
            let Place { project, scope, .. } = &target.place;
            view[key] = link(base, &format!("projects/{project}/{scope}")).into();
        }
        if let Some(request) = request {
            view["clientOperationId"] = request.to_string().into();
        }
        if let Some(error) = error {
            let errors: Vec<Value> = error.details().map(|detail| flaw(&detail)).collect();
            view["error"] = json!({"errors": errors});
            // The Python client raises only if both are set [G 12.16].
            view["httpErrorStatusCode"] = error.status.as_u16().into();
            let message = error.status.canonical_reason().unwrap_or("Error").to_uppercase();
            view["httpErrorMessage"] = message.into();
        }
        view
    }

    /// As the Network Services API shows it: a `google.longrunning.Operation`.
    pub(crate) fn long_running_view(&self) -> Value {
        let Done { operation_type, target, started, error, response, .. } = &self.done;
        let mut view = json!({
            "name": self.path(),
            "metadata": {
                "@type": "type.googleapis.com/google.cloud.networkservices.v1.OperationMetadata",
                "createTime": millis(*started),
                "endTime": millis(self.ended),
                "target": target.path(),
                "verb": operation_type,
                "requestedCancellation": false,
                "apiVersion": "v1",
            },
            "done": true,
        });
        match (error, response) {
            (Some(error), _) => view["error"] = json!({"code": code(error), "message": error.message}),
            (None, Value::Object(resource)) => {
                let mut resource = resource.clone();
                let name = "type.googleapis.com/google.cloud.networkservices.v1.ServiceLbPolicy";
                resource.insert("@type".to_owned(), name.into());
                view["response"] = resource.into();
            }
            (None, _) => view["response"] = json!({"@type": "type.googleapis.com/google.protobuf.Empty"}),
        }
        view
    }
}

fn flaw(detail: &super::error::Detail) -> Value {
    // `notFound` is NOT_FOUND here.
    let mut code = String::new();
    for c in detail.reason.chars() {
        if c.is_ascii_uppercase() {
            code.push('_');
        }
        code.push(c.to_ascii_uppercase());
    }
    let mut flaw = json!({"code": code, "message": detail.message});
    if let Some(location) = &detail.location {
        flaw["location"] = location.as_str().into();
    }
    flaw
}

/// The number of `google.rpc.Code`.
fn code(error: &ApiError) -> u8 {
    match error.status.as_u16() {
        400 | 413 => 3,
        404 => 5,
        409 => 6,
        401 => 16,
        403 => 7,
        412 => 9,
        429 => 8,
        501 => 12,
        _ => 13,
    }
}

/// RFC 3339 with milliseconds.
fn millis(time: SystemTime) -> String {
    let micros = Timestamp(time).to_string();
    match micros.strip_suffix('Z').and_then(|micros| micros.get(..micros.len().checked_sub(3)?)) {
        Some(millis) => format!("{millis}Z"),
        None => micros,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::kinds;
    use super::*;

    const UUID: &str = "0f0e0d0c-0b0a-4909-8807-060504030201";

    /// The place of a scope's operations.
    fn place(project: &str, scope: Scope) -> Option<Place> {
        let kind = match scope {
            Scope::Location => kinds::of_network_services("operations"),
            _ => kinds::of_collection("operations"),
        };
        Some(Place { kind: kind?, project: project.to_owned(), scope })
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_772_366_400 + seconds)
    }

    fn target(scope: Scope, name: &str) -> Resource {
        let kind = kinds::of_collection("backendServices").unwrap();
        Place { kind, project: "p".to_owned(), scope }.resource(name)
    }

    fn done(target: Resource, request: Option<&str>) -> Done {
        Done {
            operation_type: "insert",
            target,
            target_id: 7,
            user: "anonymous".to_owned(),
            started: at(0),
            request: request.map(|request| RequestId::parse(request).unwrap()),
            error: None,
            response: Value::Null,
        }
    }

    #[test]
    fn an_operation_is_done_and_has_googles_fields() {
        let mut operations = Operations::default();
        let scope = Scope::Region("r".to_owned());
        let kept = operations.keep(done(target(scope, "web"), Some(UUID)), at(1));
        let base = "http://h/compute/v1/";
        // [G 12.9, 12.15].
        let expected = json!({
            "kind": "compute#operation",
            "id": "1772366401000000",
            "name": "operation-1772366401000-1",
            "operationType": "insert",
            "targetLink": "http://h/compute/v1/projects/p/regions/r/backendServices/web",
            "targetId": "7",
            "status": "DONE",
            "progress": 100,
            "user": "anonymous",
            "insertTime": "2026-03-01T12:00:00.000Z",
            "startTime": "2026-03-01T12:00:00.000Z",
            "endTime": "2026-03-01T12:00:01.000Z",
            "region": "http://h/compute/v1/projects/p/regions/r",
            "clientOperationId": UUID,
            "selfLink": "http://h/compute/v1/projects/p/regions/r/operations/operation-1772366401000-1",
        });
        assert_eq!(kept.view(base), expected);
    }

    #[test]
    fn a_failed_operation_has_the_error_and_both_fields_of_its_status() {
        let error = Some(ApiError::not_found("projects/p/x").at("x"));
        let failed = Done { error, ..done(target(Scope::Global, "web"), Some(UUID)) };
        let mut operations = Operations::default();
        let view = operations.keep(failed.clone(), at(0)).view("http://h");
        // [G 12.16].
        assert_eq!(
            (&view["httpErrorStatusCode"], &view["httpErrorMessage"]),
            (&json!(404), &json!("NOT FOUND"))
        );
        let error = json!({"code": "NOT_FOUND", "message": "The resource 'projects/p/x' was not found",
            "location": "x"});
        assert_eq!(view["error"]["errors"], json!([error]));
        // What failed may be tried again under the same UUID.
        let request = RequestId::parse(UUID).unwrap();
        assert!(operations.repeated(request, "insert", &failed.target, at(1)).unwrap().is_none());
    }

    #[test]
    fn operations_are_found_in_their_own_scope_by_name_or_id() {
        let mut operations = Operations::default();
        let zone = Scope::Zone("z".to_owned());
        let global = operations.keep(done(target(Scope::Global, "a"), None), at(0));
        let zonal = operations.keep(done(target(zone.clone(), "b"), None), at(0));
        assert!(zonal.id > global.id, "unique although of one microsecond");
        let place = |scope| place("p", scope).unwrap();
        for name in [zonal.name.clone(), zonal.id.to_string()] {
            assert_eq!(operations.get(&place(zone.clone()).resource(&*name)).unwrap().id, zonal.id);
            assert!(operations.get(&place(Scope::Global).resource(&*name)).is_none());
        }
        assert_eq!(operations.all("p").filter(|operation| *operation.scope() == zone).count(), 1);
        assert_eq!((operations.all("p").count(), operations.all("q").count()), (2, 0));
        assert!(operations.delete(&place(zone.clone()).resource(&*zonal.name)));
        assert!(!operations.delete(&place(zone).resource(&*zonal.name)));
        assert_eq!(operations.all("p").count(), 1);
    }

    #[test]
    fn a_repeated_request_gets_the_first_operation_for_an_hour() {
        let mut operations = Operations::default();
        let web = target(Scope::Global, "web");
        let first = operations.keep(done(web.clone(), Some(UUID)), at(0));
        operations.delete(&place("p", Scope::Global).unwrap().resource(&*first.name));
        // [G 12.4].
        let request = RequestId::parse(&UUID.to_uppercase()).unwrap();
        let again = |now| operations.repeated(request, "insert", &web, now).unwrap().map(|first| first.id);
        assert_eq!(again(at(3600)), Some(first.id));
        assert_eq!(again(at(3601)), None);
        assert_eq!(again(UNIX_EPOCH), Some(first.id));
        let other = operations.repeated(request, "delete", &web, at(1)).unwrap_err();
        assert_eq!((other.status.as_u16(), other.location.as_deref()), (400, Some("requestId")));
        let unknown = RequestId::parse("1f0e0d0c-0b0a-4909-8807-060504030201").unwrap();
        assert!(operations.repeated(unknown, "insert", &web, at(0)).unwrap().is_none());
    }

    #[test]
    fn no_more_than_the_newest_are_kept() {
        let mut operations = Operations::default();
        for n in 0..=KEPT as u64 {
            let uuid = format!("00000000-0000-4000-8000-{:012x}", n + 1);
            operations.keep(done(target(Scope::Global, "web"), Some(&uuid)), at(n));
        }
        assert_eq!((operations.kept.len(), operations.requests.len()), (KEPT, KEPT));
        assert_eq!(operations.all("p").next().unwrap().ended, at(1));
    }

    #[test]
    fn a_request_id_is_a_uuid_other_than_zero() {
        assert_eq!(RequestId::parse(UUID).unwrap().to_string(), UUID);
        for bad in [
            "",
            "x",
            "00000000-0000-0000-0000-000000000000",
            "0f0e0d0c0b0a49098807060504030201",
            "0f0e0d0c-0b0a-4909-8807-06050403020g",
            "0f0e0d0c-0b0a-4909-8807-060504030201-",
            "+f0e0d0c-0b0a-4909-8807-060504030201",
            "ä0e0d0c-0b0a-4909-8807-060504030201",
        ] {
            assert_eq!(RequestId::parse(bad).unwrap_err().status.as_u16(), 400, "{bad}");
        }
    }

    #[test]
    fn the_network_services_api_gets_a_long_running_operation_that_is_done() {
        let kind = kinds::of_network_services("serviceLbPolicies").unwrap();
        let target = Place { kind, project: "p".to_owned(), scope: Scope::Location }.resource("x");
        let mut operations = Operations::default();
        let made = Done { response: json!({"name": "n"}), ..done(target, None) };
        let view = operations.keep(made.clone(), at(0)).long_running_view();
        assert_eq!((&view["done"], &view["response"]["name"]), (&json!(true), &json!("n")));
        assert_eq!(view["name"], "projects/p/locations/global/operations/operation-1772366400000-1");
        let failed = Done { error: Some(ApiError::invalid("No.")), ..made };
        let view = operations.keep(failed, at(0)).long_running_view();
        assert_eq!(view["error"], json!({"code": 3, "message": "No."}));
        assert!(view.get("response").is_none());
    }
}
