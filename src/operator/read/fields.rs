//! The fields of an instance, each with its bounds.

use std::collections::BTreeMap;

use crate::model::service::{
    DEFAULT_WEIGHT, DEREGISTER_AFTER, MAX_DESCRIPTION, MAX_EXTERNAL_ID, MAX_METADATA, MAX_METADATA_KEY,
    MAX_METADATA_VALUE, MAX_OWNER, MAX_TAG, MAX_TAGS, MAX_VERSION, MAX_WEIGHT, MAX_ZONE, Owner,
};
use crate::model::text;
use crate::operator::crd::OwnerEntry;

pub(super) fn weight(given: Option<i32>) -> Result<u16, String> {
    let Some(given) = given else { return Ok(DEFAULT_WEIGHT) };
    let weight = u16::try_from(given).ok().filter(|weight| *weight <= MAX_WEIGHT);
    weight.ok_or_else(|| format!("weight: a whole number from 0 to {MAX_WEIGHT}; 0 drains the instance"))
}

pub(super) fn generation(given: Option<i64>) -> Result<Option<u64>, String> {
    given.map(|n| u64::try_from(n).map_err(|_| "generation: a positive number".to_owned())).transpose()
}

pub(super) fn deregister_after(given: Option<i32>) -> Result<Option<u32>, String> {
    let fits = |n: i32| u32::try_from(n).ok().filter(|seconds| DEREGISTER_AFTER.contains(seconds));
    let (least, most) = (DEREGISTER_AFTER.start(), DEREGISTER_AFTER.end());
    given.map(|n| fits(n).ok_or_else(|| format!("deregisterAfterSeconds: {least} to {most}, not {n}"))).transpose()
}

pub(super) fn owner(entry: Option<&OwnerEntry>) -> Result<Owner, String> {
    let Some(OwnerEntry { issuer, subject }) = entry else { return Ok(Owner::Anonymous) };
    text::accept(issuer, MAX_OWNER).map_err(|error| format!("owner.issuer: {error}"))?;
    text::accept(subject, MAX_OWNER).map_err(|error| format!("owner.subject: {error}"))?;
    Ok(Owner::Token { issuer: issuer.as_str().into(), subject: subject.as_str().into() })
}

pub(super) fn accept_texts(version: &str, description: &str, zone: &str) -> Result<(), String> {
    for (field, value, max) in
        [("version", version, MAX_VERSION), ("description", description, MAX_DESCRIPTION), ("zone", zone, MAX_ZONE)]
    {
        text::accept(value, max).map_err(|error| format!("{field}: {error}"))?;
    }
    Ok(())
}

pub(super) fn accept_metadata(metadata: &BTreeMap<String, String>) -> Result<(), String> {
    if metadata.len() > MAX_METADATA {
        return Err(format!("metadata: at most {MAX_METADATA} entries"));
    }
    for (key, value) in metadata {
        let at = text::escape(key, MAX_METADATA_KEY);
        if key.is_empty() {
            return Err(format!("metadata: a key is 1 to {MAX_METADATA_KEY} characters; found an empty one"));
        }
        text::accept(key, MAX_METADATA_KEY).map_err(|error| format!("metadata.{at}: the key is {error}"))?;
        text::accept(value, MAX_METADATA_VALUE).map_err(|error| format!("metadata.{at}: {error}"))?;
    }
    Ok(())
}

pub(super) fn tags(given: &[String]) -> Result<Vec<String>, String> {
    if given.len() > MAX_TAGS {
        return Err(format!("tags: at most {MAX_TAGS}; there are {}", given.len()));
    }
    for (at, tag) in given.iter().enumerate() {
        accept_bytes(tag, MAX_TAG).map_err(|error| format!("tags[{at}]: {error}"))?;
        if given.iter().take(at).any(|earlier| earlier == tag) {
            return Err(format!("tags[{at}]: {} is given twice; keep one", text::escape(tag, MAX_ZONE)));
        }
    }
    Ok(given.to_vec())
}

pub(super) fn external_id(given: Option<&String>) -> Result<Option<String>, String> {
    let accepted = given.map(|id| accept_bytes(id, MAX_EXTERNAL_ID).map(|()| id.clone()));
    accepted.transpose().map_err(|error| format!("externalId: {error}"))
}

fn accept_bytes(value: &str, most: usize) -> Result<(), String> {
    if value.is_empty() || value.len() > most {
        return Err(format!("1 to {most} bytes, this has {}", value.len()));
    }
    text::accept(value, most).map_err(|error| error.to_string())
}
