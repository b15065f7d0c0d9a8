//! `Impersonate-…` headers: a caller who may is taken for somebody else.

use super::User;
use super::rbac::{self, Attributes};
use crate::error::{ApiError, Result};
use crate::request::decode;
use crate::server::Core;
use http::HeaderMap;

/// The group of the resources that stand for uids and extra attributes.
const GROUP: &str = "authentication.k8s.io";
const EXTRA: &str = "impersonate-extra-";

/// The caller that the headers ask to be taken for, if the real one may: each part needs the verb `impersonate`.
pub fn impersonate(core: &Core, user: User, headers: &HeaderMap) -> Result<User> {
    let all = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
    };
    let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let extra: Vec<(String, Vec<String>)> = headers
        .keys()
        .filter_map(|name| Some((decode(name.as_str().strip_prefix(EXTRA)?)?, all(name.as_str()))))
        .collect();
    let (groups, uid) = (all("impersonate-group"), first("impersonate-uid"));
    let wanted = User { name: first("impersonate-user"), uid, groups, extra };
    if wanted == User::default() {
        return Ok(user);
    }
    if wanted.name.is_empty() {
        return Err(ApiError::bad_request(
            "groups, a uid or extra attributes are to be impersonated without a user: set Impersonate-User too",
        ));
    }
    for attributes in parts(&wanted) {
        if !rbac::allowed(&core.store, &user, &attributes) {
            return Err(rbac::refusal(&user, &attributes));
        }
    }
    Ok(complete(wanted))
}

fn account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
}

/// What is to be allowed, one by one.
fn parts(wanted: &User) -> Vec<Attributes<'_>> {
    let plain = Attributes { verb: "impersonate", ..Attributes::default() };
    let who = match account(&wanted.name) {
        Some((namespace, name)) => {
            Attributes { resource: "serviceaccounts", namespace, name, ..plain.clone() }
        }
        None => Attributes { resource: "users", name: &wanted.name, ..plain.clone() },
    };
    let groups = wanted.groups.iter().map(|name| Attributes { resource: "groups", name, ..plain.clone() });
    let uid = Some(&wanted.uid).filter(|uid| !uid.is_empty());
    let uid = uid.map(|name| Attributes { group: GROUP, resource: "uids", name, ..plain.clone() });
    let extra = wanted.extra.iter().flat_map(|(key, values)| {
        let of_key = Attributes { group: GROUP, resource: "userextras", subresource: key, ..plain.clone() };
        values.iter().map(move |name| Attributes { name, ..of_key.clone() })
    });
    std::iter::once(who).chain(groups).chain(uid).chain(extra).collect()
}

/// The groups that everybody of a kind is in.
fn complete(mut user: User) -> User {
    if let Some((namespace, _)) = account(&user.name).filter(|_| user.groups.is_empty()) {
        user.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let everybody =
        if user.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !user.groups.iter().any(|g| g == everybody) {
        user.groups.push(everybody.into());
    }
    user
}
