use super::*;
use crate::error::SessionCode;
use bytes::Bytes;
use proptest::prelude::*;

fn builder() -> PropertiesBuilder {
    PropertiesBuilder::default()
}

fn immutable(inner: PropertiesBuilder) -> PropertiesBuilder {
    builder().bytes(kind::IMMUTABLE, run(inner))
}

fn run(properties: PropertiesBuilder) -> Bytes {
    properties.build().expect("valid")
}

fn track(properties: PropertiesBuilder) -> Result<TrackInfo, DecodeError> {
    TrackInfo::read(&run(properties))
}

fn object(properties: PropertiesBuilder) -> Result<ObjectInfo, PropertyError> {
    ObjectInfo::read(&run(properties), Location::new(10, 5))
}

fn closes_with_protocol_violation(result: Result<TrackInfo, DecodeError>) -> bool {
    matches!(result, Err(error) if error.session_code() == SessionCode::ProtocolViolation)
}

fn malformed<T>(result: Result<T, PropertyError>) -> bool {
    matches!(result, Err(PropertyError::Malformed(_)))
}

#[test]
fn bytes_of_a_run_are_deltas_in_ascending_order() {
    let run = builder().int(0x22, 2).bytes(0x0B, Bytes::from_static(&[2, 9])).int(4, 300).build();
    assert_eq!(run, Ok(Bytes::from_static(&[4, 0x81, 0x2C, 7, 2, 2, 9, 0x17, 2])));
}

#[test]
fn a_type_of_the_wrong_parity_cannot_be_written() {
    assert!(builder().int(3, 0).build().is_err());
    assert!(builder().bytes(2, Bytes::new()).build().is_err());
    assert!(builder().bytes(3, Bytes::from(vec![0; MAX_BYTES + 1])).build().is_err());
}

const MAX_BYTES: usize = crate::kvp::MAX_VALUE_BYTES;

#[test]
fn reads_every_known_track_property() {
    let info = track(
        builder()
            .int(kind::OBJECT_DELIVERY_TIMEOUT, 100)
            .int(kind::SUBGROUP_DELIVERY_TIMEOUT, 200)
            .int(kind::MAX_CACHE_DURATION, 300)
            .int(kind::DEFAULT_PUBLISHER_PRIORITY, 7)
            .int(kind::DEFAULT_PUBLISHER_GROUP_ORDER, 2)
            .int(kind::DYNAMIC_GROUPS, 1)
            .int(0x3FFE, 1)
            .bytes(0x8001, Bytes::from_static(b"unknown")),
    );
    let timeouts = Timeouts { object: Some(Duration::from_millis(100)), subgroup: Some(Duration::from_millis(200)) };
    let expected = TrackInfo {
        timeouts,
        max_cache: Some(Duration::from_millis(300)),
        priority: Some(7),
        group_order: Some(GroupOrder::Descending),
        dynamic_groups: true,
        mandatory: None,
    };
    assert_eq!(info, Ok(expected));
}

#[test]
fn no_properties_mean_the_defaults() {
    assert_eq!(TrackInfo::read(&[]), Ok(TrackInfo::default()));
    assert_eq!(ObjectInfo::read(&[], Location::default()), Ok(ObjectInfo::default()));
}

#[test]
fn processors_must_search_the_contents_of_immutable_properties_too() {
    let info = track(immutable(builder().int(kind::DYNAMIC_GROUPS, 1)).int(kind::MAX_CACHE_DURATION, 9));
    let info = info.expect("valid");
    assert!(info.dynamic_groups);
    assert_eq!(info.max_cache, Some(Duration::from_millis(9)));
    let gap = object(immutable(builder().int(kind::PRIOR_GROUP_ID_GAP, 2)));
    assert_eq!(gap.expect("valid").group_gap, Some(2));
}

#[test]
fn a_mandatory_track_property_is_found_at_both_ends_of_its_range_and_inside_immutable_properties() {
    for kind in [0x4000, 0x7FFE] {
        assert_eq!(track(builder().int(kind, 0)).expect("valid").mandatory, Some(kind));
        assert_eq!(track(immutable(builder().int(kind, 0))).expect("valid").mandatory, Some(kind));
    }
    for kind in [0x3FFE, 0x8000] {
        assert_eq!(track(builder().int(kind, 0)).expect("valid").mandatory, None);
    }
}

#[test]
fn an_object_with_a_mandatory_track_property_is_malformed() {
    assert!(malformed(object(builder().int(0x4000, 0))));
    assert!(malformed(object(immutable(builder().int(0x7FFE, 0)))));
}

#[test]
fn a_group_order_outside_its_range_must_close_the_session() {
    for value in [0, 3] {
        let result = track(builder().int(kind::DEFAULT_PUBLISHER_GROUP_ORDER, value));
        assert!(closes_with_protocol_violation(result));
    }
}

#[test]
fn dynamic_groups_larger_than_1_must_close_the_session() {
    assert!(closes_with_protocol_violation(track(builder().int(kind::DYNAMIC_GROUPS, 2))));
    assert!(!track(builder().int(kind::DYNAMIC_GROUPS, 0)).expect("valid").dynamic_groups);
}

#[test]
fn a_default_priority_above_255_is_invalid() {
    assert!(closes_with_protocol_violation(track(builder().int(kind::DEFAULT_PUBLISHER_PRIORITY, 256))));
    assert_eq!(track(builder().int(kind::DEFAULT_PUBLISHER_PRIORITY, 255)).expect("valid").priority, Some(255));
}

#[test]
fn immutable_properties_inside_immutable_properties_are_malformed() {
    let nested = builder().bytes(kind::IMMUTABLE, run(immutable(builder())));
    assert!(malformed(object(nested)));
}

#[test]
fn an_object_must_not_contain_immutable_properties_twice() {
    let twice = builder().bytes(kind::IMMUTABLE, Bytes::new()).bytes(kind::IMMUTABLE, Bytes::new());
    assert!(malformed(object(twice)));
}

#[test]
fn a_pair_that_cannot_be_parsed_is_malformed() {
    assert!(malformed(ObjectInfo::read(&[2], Location::default())));
    let cut = builder().bytes(kind::IMMUTABLE, Bytes::from_static(&[1, 9]));
    assert!(malformed(object(cut)));
}

#[test]
fn track_properties_that_cannot_be_parsed_close_the_session() {
    let error = TrackInfo::read(&[2]).expect_err("cut off");
    assert_eq!(error.session_code(), SessionCode::KeyValueFormattingError);
}

#[test]
fn a_pair_out_of_range_closes_the_session_inside_immutable_properties_too() {
    let cut = builder().bytes(kind::IMMUTABLE, Bytes::from_static(&[1, 0xC1, 0, 0]));
    assert!(matches!(object(cut), Err(PropertyError::Session(DecodeError::OverLimit { .. }))));
}

#[test]
fn a_prior_gap_larger_than_the_id_is_malformed() {
    assert_eq!(object(builder().int(kind::PRIOR_GROUP_ID_GAP, 10)).expect("valid").group_gap, Some(10));
    assert!(malformed(object(builder().int(kind::PRIOR_GROUP_ID_GAP, 11))));
    assert_eq!(object(builder().int(kind::PRIOR_OBJECT_ID_GAP, 5)).expect("valid").object_gap, Some(5));
    assert!(malformed(object(builder().int(kind::PRIOR_OBJECT_ID_GAP, 6))));
}

#[test]
fn a_prior_gap_that_stands_twice_is_malformed() {
    for gap in [kind::PRIOR_GROUP_ID_GAP, kind::PRIOR_OBJECT_ID_GAP] {
        assert!(malformed(object(builder().int(gap, 1).int(gap, 1))));
        assert!(malformed(object(immutable(builder().int(gap, 1)).int(gap, 1))));
    }
}

proptest! {
    #[test]
    fn reading_never_panics(run: Vec<u8>, group: u64, id: u64) {
        let _ = TrackInfo::read(&run);
        let _ = ObjectInfo::read(&run, Location::new(group, id));
    }
}
