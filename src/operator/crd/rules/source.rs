//! Who owns an object. A manifest applied over a registration would be ingested without its check, so it is refused as far as the content
//! shows it: only the registrar writes a `generation` for each instance. The admission policy in `deploy/` covers what the content cannot
//! show.

use serde_json::{Value, json};

use super::{LABEL, rule};
use crate::model::name::MAX_LABEL;

/// What to do about a registration that keeps a manifest from being applied; CEL, with the object's name.
const IN_THE_WAY: &str = "self.metadata.name + ' was registered over REST, and a manifest cannot change it: deregister it first \
     (kubectl delete psvc ' + self.metadata.name + '), or give the manifest another name'";

/// Where the message is reported.
const SOURCE: &str = ".spec.source";

/// Whether this `spec` has the form that the registrar gives it.
fn is_registration(spec: &str) -> String {
    format!(
        "(!has({spec}.check) && !has({spec}.checks) && !has({spec}.metadata) && !has({spec}.description) && \
         !has({spec}.publish) && \
         !has({spec}.from) && has({spec}.instances) && {spec}.instances.all(i, has(i.generation)))"
    )
}

/// On the whole object.
pub(in crate::operator::crd) fn root() -> Value {
    let registration = is_registration("self.spec");
    let mut taken_over = refusal(
        // An object that a manifest changed before this rule existed may go on; its next registration restores its form.
        &format!(
            "oldSelf.spec.source != 'Rest' || self.spec.source != 'Rest' || !{} || {registration}",
            is_registration("oldSelf.spec")
        ),
        "it was registered over REST, and a manifest cannot change it: deregister it first, or give the manifest another name",
    );
    taken_over["fieldPath"] = SOURCE.into();
    taken_over["messageExpression"] = IN_THE_WAY.into();
    let mut made_up = refusal(
        &format!("oldSelf.hasValue() || self.spec.source != 'Rest' || {registration}"),
        "Rest is for services that clients register over HTTP; leave source out of a manifest",
    );
    made_up["fieldPath"] = SOURCE.into();
    made_up["optionalOldSelf"] = true.into();
    json!([
        rule(
            &format!("size(self.metadata.name) <= {MAX_LABEL} && self.metadata.name.matches('{LABEL}')"),
            &format!(
                "a service's name is 1 to {MAX_LABEL} characters of a-z, 0-9 and '-', starting and ending with a letter or digit"
            )
        ),
        taken_over,
        made_up,
    ])
}

/// A rule whose message stands alone, without the value.
fn refusal(text: &str, message: &str) -> Value {
    let mut rule = rule(text, message);
    rule["reason"] = "FieldValueForbidden".into();
    rule
}

/// On `spec.source`.
pub(in crate::operator::crd) fn source() -> Value {
    json!([
        refusal(
            "oldSelf == 'Manifest' || self == oldSelf",
            "the service was registered over REST, and a manifest cannot take it over: deregister it first (kubectl delete psvc NAME), or \
             give the manifest another name"
        ),
        refusal(
            "oldSelf == 'Rest' || self == oldSelf",
            "source cannot be changed; delete the object, then create it again"
        ),
    ])
}

/// On `spec`: a manifest must not write what is Portolan's.
pub(super) fn manifest() -> Value {
    let mut rule = refusal(
        "self.source == 'Rest' || !has(self.instances) || self.instances.all(i, !has(i.owner) && !has(i.generation) && !has(i.deregisterAfterSeconds))",
        "owner, generation and deregisterAfterSeconds are written by Portolan for what is registered over REST; leave them out of a \
         manifest, whose instances are never removed",
    );
    rule["fieldPath"] = ".instances".into();
    rule
}

/// On an instance: within one generation its URLs stay, and generations only grow.
pub(super) fn kept() -> Value {
    let same = "(has(self.healthUrl) ? self.healthUrl : '') == (has(oldSelf.healthUrl) ? oldSelf.healthUrl : '')";
    refusal(
        &format!(
            "!has(oldSelf.generation) || !has(self.generation) || self.generation > oldSelf.generation || \
             (self.generation == oldSelf.generation && self.baseUrl == oldSelf.baseUrl && {same})"
        ),
        "this instance was registered over REST, and only a registration changes its URLs: register it again, or deregister it before a \
         manifest takes its place",
    )
}
