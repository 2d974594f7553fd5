//! One table: what a receiver's manifest says, and what the comparison makes of it.

use super::*;
use crate::manifest::HEADER;

/// `v 5/0/2=abc` is object 2 of subgroup 0 of group 5 of track v with payload abc; `!` starts an open line.
fn manifest(lines: &[&str]) -> Manifest {
    let mut text = format!("{HEADER}\n");
    for line in lines {
        if let Some(open) = line.strip_prefix('!') {
            text += &format!("# open {open}\n");
            continue;
        }
        let (place, payload) = line.split_once('=').unwrap();
        let (payload, properties) = payload.split_once('+').unwrap_or((payload, "-"));
        let hash = blake3::hash(payload.as_bytes()).to_hex();
        text += &format!("{} {} {hash} {properties} -\n", place.replace('/', " "), payload.len());
    }
    Manifest::read(text.as_bytes()).unwrap()
}

const PUBLISHED: [&str; 8] =
    ["v 1/0/0=a", "v 1/0/1=b", "v 2/0/0=c+aa", "v 2/1/1=d", "v 2/0/2=e", "v 3/0/0=f", "v 3/0/1=g", "a 1/0/0=h"];

fn kinds(received: &[&str]) -> Vec<Kind> {
    compare(&manifest(&PUBLISHED), &manifest(received)).examples.iter().map(|d| d.kind).collect()
}

#[test]
fn equal_from_the_join_to_the_end() {
    let table: [&[&str]; 6] = [
        &PUBLISHED,
        // Joins in group 2, leaves in group 3.
        &["v 2/0/0=c+aa", "v 2/1/1=d", "v 2/0/2=e", "v 3/0/0=f"],
        // Subgroups interleave in any order.
        &["v 2/0/0=c+aa", "v 2/0/2=e", "v 2/1/1=d"],
        // The last group's subgroup 1 did not come in time.
        &["v 2/0/0=c+aa", "v 2/0/2=e"],
        // Group 2's subgroup 0 was open when the receiver stopped.
        &["v 2/0/0=c+aa", "v 2/1/1=d", "v 3/0/0=f", "!v 2 0"],
        &["a 1/0/0=h"],
    ];
    for received in table {
        let diff = compare(&manifest(&PUBLISHED), &manifest(received));
        assert!(diff.same, "{received:?}: {diff:?}");
    }
}

#[test]
fn every_kind_of_difference_is_named() {
    let table: [(&[&str], Kind); 9] = [
        (&["v 1/0/0=a", "v 2/0/0=c+aa"], Kind::Missing),
        (&["v 2/0/0=c+aa", "v 2/1/1=d", "v 3/0/0=f"], Kind::Missing),
        (&["v 3/0/0=f", "v 3/0/1=g", "v 3/0/2=x"], Kind::Extra),
        (&["w 3/0/0=f"], Kind::Extra),
        (&["v 3/0/0=F"], Kind::Payload),
        (&["v 3/0/0=f+aa"], Kind::Properties),
        (&["v 3/1/0=f"], Kind::Subgroup),
        (&["v 3/0/1=g", "v 3/0/0=f"], Kind::OutOfOrder),
        (&["v 3/0/0=f", "v 3/0/0=f"], Kind::Duplicate),
    ];
    for (received, expected) in table {
        assert_eq!(kinds(received), [expected], "{received:?}");
    }
}

#[test]
fn nothing_received_is_no_success() {
    assert!(!compare(&manifest(&PUBLISHED), &manifest(&[])).same);
}

#[test]
fn counts_and_examples() {
    let diff = compare(&manifest(&PUBLISHED), &manifest(&["v 1/0/0=a", "v 3/0/1=g"]));
    assert_eq!((diff.missing, diff.objects_compared), (5, 7));
    let first = &diff.examples[0];
    assert_eq!((first.track.as_str(), first.group, first.object, first.line), ("v", 1, 1, 3));
    let track = &diff.tracks[0];
    assert_eq!((track.joined_group, track.joined_object, track.groups), (1, 0, 2));
}

#[test]
fn examples_are_bounded() {
    let published: Vec<String> = (0..1000).map(|o| format!("v 1/0/{o}=x")).collect();
    let published: Vec<&str> = published.iter().map(String::as_str).collect();
    let diff = compare(&manifest(&published), &manifest(&["v 1/0/0=x", "v 1/0/999=x"]));
    assert_eq!((diff.missing, diff.examples.len()), (998, EXAMPLES_MAX));
}
