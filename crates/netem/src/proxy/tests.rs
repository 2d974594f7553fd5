//! The proxy between real sockets: what arrives, not when.

use super::*;
use crate::model::{Bottleneck, Capacity, Change, Link};
use crate::model::{Loss, Program, Queue, Rate, Ratio, State, Step};
use crate::priority::Raised;
use std::net::UdpSocket;
use std::time::Duration;

/// What a test waits for at most; it ends as soon as it has what it waits for.
const PATIENCE: Duration = Duration::from_secs(20);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = [0; 2048];
    let (length, from) = socket.recv_from(&mut bytes).expect("it arrives in time");
    (bytes[..length].to_vec(), from)
}

/// Runs `body` with a proxy in front of `server`, then stops it.
fn with_proxy(server: &UdpSocket, config: Config, body: impl FnOnce(SocketAddr, &Handle)) -> Report {
    let proxy = Proxy::bind("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap(), config).unwrap();
    let (addr, handle) = (proxy.local_addr(), proxy.handle());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| proxy.run());
        let stop = StopOnDrop(&handle);
        body(addr, &handle);
        drop(stop);
        running.join().unwrap().unwrap()
    })
}

/// Lets the proxy's thread end when the test fails.
struct StopOnDrop<'a>(&'a Handle);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn wire() -> Config {
    Config::new(Direction::default(), Direction::default())
}

#[test]
fn it_goes_before_ordinary_threads_where_it_may_and_says_so() {
    let is_permitted = Raised::to(Priority::RealTime).is_real_time();
    let server = socket();
    assert_eq!(with_proxy(&server, wire(), |_, _| {}).is_real_time, is_permitted);
    let ordinary = Config { priority: Priority::Ordinary, ..wire() };
    assert!(!with_proxy(&server, ordinary, |_, _| {}).is_real_time);
}

#[test]
fn both_ways_for_several_clients() {
    let (server, clients) = (socket(), [socket(), socket(), socket()]);
    let report = with_proxy(&server, wire(), |addr, _| {
        for (number, client) in clients.iter().enumerate() {
            client.send_to(&[u8::try_from(number).unwrap(); 100], addr).unwrap();
        }
        for _ in &clients {
            let (bytes, from) = receive(&server);
            server.send_to(&bytes, from).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            let (bytes, from) = receive(client);
            assert_eq!((bytes, from), (vec![u8::try_from(number).unwrap(); 100], addr));
        }
    });
    assert_eq!((report.forward.delivered.packets, report.reverse.delivered.packets), (3, 3));
    assert_eq!(report.forward.delivered.bytes, 3 * 128, "headers count");
    assert_eq!((report.proxy.clients, report.proxy.turned_away, report.lateness.packets), (3, 0, 6));
}

#[test]
fn datagrams_of_all_sizes_keep_their_bytes_and_order() {
    let (server, client) = (socket(), socket());
    let packet = |number: u16| {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.resize(2 + usize::from(number * 37 % 1200), 7);
        bytes
    };
    let delayed = Direction::delayed(Span::from_millis(5));
    with_proxy(&server, Config::new(delayed.clone(), delayed), |addr, _| {
        // Fewer at once than the smallest receive buffer takes.
        for round in 0..10 {
            for number in round * 50..(round + 1) * 50 {
                client.send_to(&packet(number), addr).unwrap();
            }
            for number in round * 50..(round + 1) * 50 {
                assert_eq!(receive(&server).0, packet(number));
            }
        }
        client.send_to(&[], addr).unwrap();
        assert!(receive(&server).0.is_empty());
    });
}

#[test]
fn conditions_change_while_it_runs() {
    let (server, client) = (socket(), socket());
    let report = with_proxy(&server, wire(), |addr, handle| {
        let send = |byte: u8| client.send_to(&[byte], addr).unwrap();
        send(1);
        assert_eq!(receive(&server).0, [1]);
        // Loss of all, then none: the drop is seen in the counters, so that nothing waits for what never comes.
        handle.set(Way::Forward, Direction::default().with_loss(Loss::Random(Ratio::ONE)));
        send(2);
        until(handle, |report| report.forward.dropped.loss == 1);
        handle.set_state(State::Down);
        send(3);
        until(handle, |report| report.forward.dropped.down == 1);
        handle.set_state(State::Up);
        let clean = Step { at: Span::ZERO, change: Change::Set(Direction::default()) };
        handle.run_program(Way::Forward, Program::once(vec![clean]));
        send(4);
        assert_eq!(receive(&server).0, [4]);
    });
    assert_eq!((report.forward.offered.packets, report.forward.delivered.packets), (4, 2));
}

/// Waits for a report of which `what` is true.
fn until(handle: &Handle, what: impl Fn(&Report) -> bool) {
    let limit = handle.now() + PATIENCE;
    while !what(&handle.report()) {
        assert!(handle.now() < limit, "{:?}", handle.report());
        std::thread::yield_now();
    }
}

#[test]
fn losses_are_the_models() {
    let (server, client) = (socket(), socket());
    let lossy = Direction::default().with_loss(Loss::Random(Ratio::percent(30)));
    let config = Config { seed: 7, ..Config::new(lossy.clone(), Direction::default()) };
    let mut link = Link::new(Key::new(7, 0, Way::Forward), lossy);
    let expected: Vec<u8> =
        (0..200).filter(|_| matches!(link.offer(Duration::ZERO, 29), crate::model::Verdict::Deliver { .. })).collect();
    let mut arrived = Vec::new();
    with_proxy(&server, config, |addr, _| {
        for number in 0..200 {
            client.send_to(&[number], addr).unwrap();
        }
        arrived.extend(expected.iter().map(|_| receive(&server).0[0]));
    });
    assert_eq!(arrived, expected, "the same packets as the model says, which the seed alone decides");
}

#[test]
fn limits_hold() {
    let (server, known, stranger) = (socket(), socket(), socket());
    let slow = Bottleneck { capacity: Capacity::Rate(Rate::clamped(80)), queue: Queue::Bytes(0) };
    let config = Config {
        clients_max: 1,
        ..Config::new(Direction::default(), Direction { bottleneck: Some(slow), ..Direction::default() })
    };
    let report = with_proxy(&server, config, |addr, handle| {
        known.send_to(b"a", addr).unwrap();
        let (_, seen_as) = receive(&server);
        stranger.send_to(b"b", addr).unwrap();
        until(handle, |report| report.proxy.turned_away == 1);
        stranger.send_to(b"not the server", seen_as).unwrap();
        until(handle, |report| report.proxy.foreign == 1);
        for _ in 0..3 {
            server.send_to(&[0; 100], seen_as).unwrap();
        }
        until(handle, |report| report.reverse.dropped.queue == 2);
    });
    assert_eq!(report.proxy.clients, 1);
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    let taken = socket().local_addr().unwrap();
    let bind = |listen: &str, to: &str| {
        let error = Proxy::bind(listen.parse().unwrap(), to.parse().unwrap(), wire()).unwrap_err();
        error.to_string()
    };
    assert!(bind("127.0.0.1:0", "0.0.0.0:4443").contains("say 127.0.0.1"));
    assert!(bind("127.0.0.1:0", "127.0.0.1:0").contains("port 0"));
    assert!(bind("192.0.2.1:1", "127.0.0.1:4443").contains("cannot listen on udp 192.0.2.1:1"));
    let itself = format!("0.0.0.0:{}", taken.port());
    assert!(bind(&itself, &taken.to_string()).contains("itself"));
}
