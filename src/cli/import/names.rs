//! Names for the gateway's rows. A name there is any text, and each row has one; here a service's name is a label.
//!
//! The gateway has one address for a name. It looks for the name before it adds a row, but not in one step, so two programs that register
//! at the same moment leave two rows, of which it shows the one with the lowest id. That one becomes the instance `default`.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use super::rows::{Note, shown};
use crate::model::name::{self, MAX_LABEL, ServiceName};
use crate::model::url::EndpointUrl;

/// Digits of a hash that tells two names apart: one of 16 million.
const HASH_DIGITS: usize = 6;

/// What names are given by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// The name there, without white space around it.
    pub(super) name: &'a str,
    /// The primary key.
    pub(super) id: &'a str,
    /// The address.
    pub(super) base_url: &'a str,
}

/// What a row is called here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// An instance of a service.
    Named {
        /// The service.
        service: String,
        /// The instance; none for `default`.
        instance: Option<String>,
        /// What did not fit.
        notes: Vec<Note>,
    },
    /// The row at that position says the same.
    Repeats(usize),
    /// It has no name.
    Nameless,
}

/// A place for each row. The same rows get the same places, in whatever order they come.
pub(super) fn places(rows: &[Row<'_>]) -> Vec<Place> {
    let services = services(rows);
    let mut places = vec![Place::Nameless; rows.len()];
    for (name, members) in members(rows) {
        let Some((service, why)) = services.get(name) else { continue };
        place(rows, &members, service, why.as_ref(), &mut places);
    }
    places
}

/// The positions of the rows of each name, as the gateway would look them up.
fn members<'a>(rows: &[Row<'a>]) -> BTreeMap<&'a str, Vec<usize>> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| !row.name.is_empty()) {
        members.entry(row.name).or_default().push(at);
    }
    for of_name in members.values_mut() {
        of_name.sort_by_key(|at| rows[*at].id);
    }
    members
}

/// The label of each name, and what there is to say about it. A name that is a label keeps it; of several that become the same, the first in
/// order does, and each other gets a hash of what it was.
fn services<'a>(rows: &[Row<'a>]) -> HashMap<&'a str, (String, Option<Note>)> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.name).filter(|name| !name.is_empty()).collect();
    names.sort_unstable_by_key(|name| (name.parse::<ServiceName>().is_err(), *name));
    names.dedup();
    let mut taken: HashMap<String, &str> = HashMap::new();
    let mut labels = HashMap::new();
    for name in names {
        let wrong = name.parse::<ServiceName>().err();
        let plain = name::suggest(name);
        let label = plain.clone().unwrap_or_else(|| hashed("service", name));
        let other = taken.get(&label).copied();
        let label = if other.is_some() { hashed(&label, name) } else { label };
        let note = wrong.map(|_| {
            let why = "is not a label of a-z, 0-9 and '-'";
            let why =
                other.map_or_else(|| why.to_owned(), |other| format!("{why}, and {} has that label", shown(other)));
            Note::became("name", why, label.clone())
        });
        taken.insert(label.clone(), name);
        labels.insert(name, (label, note));
    }
    labels
}

fn place(rows: &[Row<'_>], members: &[usize], service: &str, why: Option<&Note>, places: &mut [Place]) {
    let mut instances: HashMap<String, usize> = HashMap::new();
    let mut addresses: HashMap<&str, usize> = HashMap::new();
    for at in members {
        let url = rows[*at].base_url;
        if let Some(first) = addresses.get(url) {
            places[*at] = Place::Repeats(*first);
            continue;
        }
        addresses.insert(url, *at);
        let mut notes: Vec<Note> = why.cloned().into_iter().collect();
        let instance = (addresses.len() > 1).then(|| {
            let label = address_label(url);
            let label = if instances.contains_key(&label) { hashed(&label, url) } else { label };
            let instance = format!("instance {label}");
            let why = format!("another row has this name and a different address, so this one becomes the {instance}");
            notes.push(Note::became("name", why, instance));
            label
        });
        instances.insert(instance.clone().unwrap_or_else(|| "default".to_owned()), *at);
        places[*at] = Place::Named { service: service.to_owned(), instance, notes };
    }
}

/// A label of a URL's host and port.
pub(super) fn address_label(url: &str) -> String {
    let parsed = EndpointUrl::base(url).ok();
    let text = parsed.map_or_else(|| url.to_owned(), |url| format!("{}-{}", url.host(), url.port()));
    name::suggest(&text).unwrap_or_else(|| hashed("instance", url))
}

/// `label`, cut so that the hash fits behind it.
fn hashed(label: &str, of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    let hash = format!("{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2]);
    let kept: String = label.chars().take(MAX_LABEL - HASH_DIGITS - 1).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(name: &'a str, id: &'a str, base_url: &'a str) -> Row<'a> {
        Row { name, id, base_url }
    }

    fn named(place: &Place) -> (&str, Option<&str>, usize) {
        let Place::Named { service, instance, notes } = place else { panic!("{place:?}") };
        (service, instance.as_deref(), notes.len())
    }

    #[test]
    fn a_label_stays_and_others_make_room_for_it() {
        let rows = [
            row("User_Service", "1", "http://h:1"),
            row("user-service", "2", "http://h:2"),
            row("用户服务", "3", "http://h:3"),
        ];
        let places = places(&rows);
        assert_eq!(named(&places[1]), ("user-service", None, 0));
        let (other, _, notes) = named(&places[0]);
        assert!(other.starts_with("user-service-") && other.len() == "user-service-".len() + HASH_DIGITS, "{other}");
        assert_eq!(notes, 1);
        assert!(named(&places[2]).0.starts_with("service-"), "{places:?}");
    }

    #[test]
    fn rows_of_one_name_become_instances_and_repeats_are_found() {
        let rows = [
            row("orders", "b", "http://10.0.0.2:80"),
            row("orders", "a", "http://10.0.0.1:80"),
            row("orders", "c", "http://10.0.0.2:80"),
            row("orders", "d", "http://10.0.0.2:80/v2"),
            row("", "e", "http://10.0.0.3:80"),
        ];
        let places = places(&rows);
        assert_eq!(named(&places[1]), ("orders", None, 0), "the row that the gateway shows");
        assert_eq!(named(&places[0]), ("orders", Some("10-0-0-2-80"), 1));
        assert_eq!(places[2], Place::Repeats(0));
        assert!(named(&places[3]).1.is_some_and(|name| name.starts_with("10-0-0-2-80-")), "{places:?}");
        assert_eq!(places[4], Place::Nameless);
    }

    proptest::proptest! {
        #[test]
        fn every_place_is_a_label_and_its_own(names in proptest::collection::vec("[a-cA-C_ ]{0,3}", 0..12)) {
            let urls: Vec<String> = (0..names.len()).map(|n| format!("http://h:{}", n + 1)).collect();
            let rows: Vec<Row<'_>> = names.iter().zip(&urls).map(|(name, url)| row(name.trim(), url, url)).collect();
            let places = places(&rows);
            let mut seen = std::collections::HashSet::new();
            for place in &places {
                if let Place::Named { service, instance, .. } = place {
                    proptest::prop_assert!(service.parse::<ServiceName>().is_ok());
                    proptest::prop_assert!(seen.insert((service.clone(), instance.clone())));
                }
            }
            let named = places.iter().filter(|place| matches!(place, Place::Named { .. })).count();
            proptest::prop_assert_eq!(named, rows.iter().filter(|row| !row.name.is_empty()).count());
        }
    }
}
