//! One function maps the draft's send order to the transport's number (draft-18 7.2, decisions 3.4).

use sluice_moqt::message::Class;

/// Everything that decides the place of a stream in the send order, most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// Traffic class.
    pub class: Class,
    /// Subscriber priority; lower goes first.
    pub subscriber: u8,
    /// Publisher priority; lower goes first.
    pub publisher: u8,
    /// Place of the group among the groups in flight, in the subscription's group order; lower goes first.
    pub group_rank: u8,
    /// Subgroup id; lower goes first. Ids from 31 on share the last place: five bits are left for them.
    pub subgroup: u64,
}

/// The transport priority of a media stream: larger goes first, always below the 0 of control streams
/// ("the control streams SHOULD be prioritized highest", draft-18 7.2).
///
/// Layout of the key, 31 bits: class 2, subscriber 8, publisher 8, group rank 8, subgroup 5.
#[must_use]
pub fn transport_priority(order: Order) -> i32 {
    let class = match order.class {
        Class::Rtc => 0,
        Class::Live => 1,
        Class::Default => 2,
    };
    let subgroup = i32::from(u8::try_from(order.subgroup).unwrap_or(u8::MAX).min(31));
    let key = class << 29
        | i32::from(order.subscriber) << 21
        | i32::from(order.publisher) << 13
        | i32::from(order.group_rank) << 5
        | subgroup;
    !key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(class: Class, subscriber: u8, publisher: u8, group_rank: u8, subgroup: u64) -> Order {
        Order { class, subscriber, publisher, group_rank, subgroup }
    }

    /// Each row goes strictly before the next one.
    #[test]
    fn the_send_order_is_class_subscriber_publisher_group_subgroup() {
        let table = [
            order(Class::Rtc, 0, 0, 0, 0),
            order(Class::Rtc, 0, 0, 0, 1),
            order(Class::Rtc, 0, 0, 0, 30),
            order(Class::Rtc, 0, 0, 0, u64::MAX),
            order(Class::Rtc, 0, 0, 1, 0),
            order(Class::Rtc, 0, 0, 255, 0),
            order(Class::Rtc, 0, 1, 0, 0),
            order(Class::Rtc, 0, 255, 255, 31),
            order(Class::Rtc, 1, 0, 0, 0),
            order(Class::Rtc, 255, 255, 255, 31),
            order(Class::Live, 0, 0, 0, 0),
            order(Class::Live, 255, 255, 255, 31),
            order(Class::Default, 0, 0, 0, 0),
            order(Class::Default, 255, 255, 255, 31),
        ];
        for pair in table.windows(2) {
            assert!(transport_priority(pair[0]) > transport_priority(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn media_is_always_below_control() {
        assert_eq!(transport_priority(order(Class::Rtc, 0, 0, 0, 0)), -1);
        assert!(transport_priority(order(Class::Default, 255, 255, 255, 99)) < 0);
    }

    #[test]
    fn subgroup_ids_beyond_the_field_share_the_last_place() {
        let (a, b) = (order(Class::Live, 1, 1, 1, 31), order(Class::Live, 1, 1, 1, 4_000));
        assert_eq!(transport_priority(a), transport_priority(b));
    }
}
