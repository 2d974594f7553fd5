//! Links between network namespaces: what the model says of a link is what happens to the packets of real sockets and
//! processes, and nothing of it is left behind. What is asserted are counts, never times.

use crate::harness::{skip, until};
use quinn_udp::{Transmit, UdpSocketState};
use sluice_netem::doctor::{self, Capability, Finding, Presence};
use sluice_netem::lab::{self, Lab, LinkSpec, Medium, MediumChoice, Reach, Spec};
use sluice_netem::model::{Direction, Key, Link, Loss, Ratio, Reason, Sharing, Span, State, Verdict, Way};
use sluice_netem::scenario::Engine;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, io};

const SOON: Duration = Duration::from_secs(20);
const SEED: u64 = 7;
const PINGS: usize = 200;
const PAYLOAD: usize = 64;
/// With the headers of UDP and IPv4.
const PACKET: usize = PAYLOAD + 8 + 20;
/// Set in the environment of a test that was started again with the rights that it needs.
const INSIDE: &str = "SLUICE_TEST_IN_USER_NAMESPACE";

#[test]
fn what_the_model_says_happens_over_tun() {
    in_lab("lab_smoke::what_the_model_says_happens_over_tun", || pings(Medium::Tun, Capability::Tun));
}

#[test]
fn what_the_model_says_happens_over_virtual_ethernet() {
    in_lab("lab_smoke::what_the_model_says_happens_over_virtual_ethernet", || {
        pings(Medium::Packet, Capability::PacketSockets);
    });
}

#[test]
fn nodes_without_a_link_meet_through_others_until_a_partition() {
    in_lab("lab_smoke::nodes_without_a_link_meet_through_others_until_a_partition", || {
        let lab = Lab::new(Spec { reach: Reach::Everywhere, ..line(&["a", "b", "c"], &Direction::default()) }).unwrap();
        let (from, to) = (lab.udp_socket("a", 0).unwrap(), lab.udp_socket("c", 5000).unwrap());
        let there = SocketAddr::from((lab.address("a", "c").unwrap(), 5000));
        let send = |what: &str| from.send_to(what.as_bytes(), there).unwrap();
        let arrival = || until("a packet", SOON, || received(&to).into_iter().next());

        send("whole");
        let (payload, sender) = arrival();
        assert_eq!(payload, b"whole");
        assert_eq!(sender.ip(), lab.own_address("a").unwrap());
        lab.handle().partition(&["c"]).unwrap();
        send("cut");
        let lost = || lab.counters().unwrap().links[1].forward.dropped.down;
        until("a packet lost at the cut", SOON, || (lost() == 1).then_some(()));
        lab.handle().heal().unwrap();
        send("healed");
        assert_eq!(arrival().0, b"healed");
    });
}

#[test]
fn datagrams_that_are_sent_as_one_are_packets_of_their_own() {
    in_lab("lab_smoke::datagrams_that_are_sent_as_one_are_packets_of_their_own", || {
        let conditions = Direction::delayed(Span::from_millis(20));
        // The node between passes on what the engine has written: headers and checksums must be whole.
        let lab = Lab::new(Spec { reach: Reach::Everywhere, ..line(&["a", "b", "c"], &conditions) }).unwrap();
        let (from, to) = (lab.udp_socket("a", 0).unwrap(), lab.udp_socket("c", 5000).unwrap());
        let destination = SocketAddr::from((lab.address("a", "c").unwrap(), 5000));
        let batches = UdpSocketState::new((&from).into()).unwrap();
        // Fewer at once than the smallest receive buffer takes; the last of each batch is shorter.
        let (bytes, size): (Vec<u8>, _) = ((0..251).cycle().take(9_999).collect(), 700);
        let sent: Vec<&[u8]> = bytes.chunks(size).cycle().take(4 * bytes.len().div_ceil(size)).collect();
        let mut came = Vec::new();
        for round in 1..=4 {
            let contents = &bytes[..];
            let segment_size = (batches.max_gso_segments() >= contents.len() / size).then_some(size);
            match segment_size {
                Some(_) => {
                    let batch = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
                    batches.try_send((&from).into(), &batch).unwrap();
                }
                None => contents.chunks(size).for_each(|payload| {
                    from.send_to(payload, destination).unwrap();
                }),
            }
            until("a batch", SOON, || {
                came.extend(received(&to).into_iter().map(|(payload, _)| payload));
                (came.len() >= round * sent.len() / 4).then_some(())
            });
        }
        assert_eq!(came, sent);
        let counters = lab.counters().unwrap();
        for link in &counters.links {
            assert_eq!(link.forward.offered, link.forward.delivered);
            let payloads: usize = sent.iter().map(|payload| payload.len() + 28).sum();
            assert_eq!((link.forward.offered.packets, link.forward.offered.bytes), (60, payloads as u64));
        }
        assert_eq!((counters.engine.refused, counters.engine.overflow), (0, 0));
    });
}

#[test]
fn processes_live_in_their_node_and_die_with_the_lab() {
    in_lab("lab_smoke::processes_live_in_their_node_and_die_with_the_lab", || {
        let before = interfaces();
        let lab = Lab::new(line(&["a", "b"], &Direction::default())).unwrap();
        let mut list = Command::new("cat");
        list.arg("/proc/net/dev").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = lab.spawn("a", list).unwrap();
        let output = io::read_to_string(process.take_stdout().unwrap()).unwrap();
        assert!(process.wait().unwrap().success());
        assert!(output.contains("link0:"), "{output}");
        assert_eq!(interfaces(), before, "nothing of it is seen from outside");

        // A program that starts another one, as a shell does.
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo $!; wait"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut shell = lab.spawn("b", shell).unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(shell.take_stdout().unwrap()), &mut line).unwrap();
        let alone = lab
            .spawn("b", {
                let mut sleep = Command::new("sleep");
                sleep.arg("1000");
                sleep
            })
            .unwrap();
        drop(shell);
        until("the end of what the shell started", SOON, || (!is_running(line.trim())).then_some(()));
        drop(lab);
        until("the end of a process whose lab is gone", SOON, || (!is_running(&alone.id().to_string())).then_some(()));
        assert_eq!(interfaces(), before);
    });
}

/// Sends pings over a link that loses a tenth each way, and compares with what the model says.
fn pings(medium: Medium, capability: Capability) {
    let missing = |finding: &Finding| finding.capability == capability && finding.presence == Presence::Missing;
    if let Some(missing) = doctor::examine().into_iter().find(missing) {
        return skip(&format!("lab: {missing}"), &["lab"]);
    }
    let lossy = Direction::delayed(Span::from_millis(20)).with_loss(Loss::Random(Ratio::percent(10)));
    let lab = Lab::new(Spec { medium: MediumChoice::Only(medium), ..line(&["a", "b"], &lossy) }).unwrap();
    assert_eq!(lab.medium(), medium);
    let [a, b] = [lab.udp_socket("a", 0).unwrap(), lab.udp_socket("b", 5000).unwrap()];
    let there = SocketAddr::from((lab.address("a", "b").unwrap(), 5000));
    let mut answers = Vec::new();
    for ping in 0..PINGS {
        let mut payload = [0; PAYLOAD];
        payload[..2].copy_from_slice(&u16::try_from(ping).unwrap().to_be_bytes());
        a.send_to(&payload, there).unwrap();
        answers.extend(exchange(&a, &b));
    }
    let counters = until("every packet to have arrived or been dropped", SOON, || {
        answers.extend(exchange(&a, &b));
        let link = lab.counters().unwrap().links.remove(0);
        let all_answered = link.forward.offered.packets == PINGS as u64
            && link.reverse.offered.packets == link.forward.delivered.packets
            && link.forward.in_flight() + link.reverse.in_flight() == 0;
        (all_answered && answers.len() as u64 == link.reverse.delivered.packets).then_some(link)
    });

    let expected = |way: Way, packets: usize| {
        let mut link = Link::new(Key::new(SEED, 0, way), lossy.clone());
        let lost = |_: &usize| matches!(link.offer(Duration::ZERO, PACKET), Verdict::Drop(Reason::Loss));
        (0..packets).filter(lost).collect::<Vec<_>>()
    };
    let lost_there = expected(Way::Forward, PINGS);
    let arrived: Vec<_> = (0..PINGS).filter(|ping| !lost_there.contains(ping)).collect();
    let lost_back = expected(Way::Reverse, arrived.len());
    assert!(!lost_there.is_empty() && !lost_back.is_empty(), "a seed that loses nothing shows nothing");
    assert_eq!(counters.forward.dropped.loss, lost_there.len() as u64);
    assert_eq!(counters.reverse.dropped.loss, lost_back.len() as u64);
    assert_eq!(counters.forward.offered.bytes, (PINGS * PACKET) as u64);
    // Not only as many, but those very packets.
    let back = arrived.iter().enumerate().filter(|(number, _)| !lost_back.contains(number));
    assert_eq!(answers, back.map(|(_, ping)| *ping).collect::<Vec<_>>());

    lab.handle().set_state(0, State::Down).unwrap();
    a.send_to(&[0; PAYLOAD], there).unwrap();
    until("a packet lost at a link that is down", SOON, || {
        (lab.counters().unwrap().links[0].forward.dropped.down == 1).then_some(())
    });
}

/// Sends what has come to `b` back, and returns the numbers of the pings that have come back to `a`.
fn exchange(a: &UdpSocket, b: &UdpSocket) -> Vec<usize> {
    for (payload, from) in received(b) {
        b.send_to(&payload, from).unwrap();
    }
    let number = |payload: &[u8]| usize::from(u16::from_be_bytes(*payload.first_chunk().unwrap()));
    received(a).into_iter().map(|(payload, _)| number(&payload)).collect()
}

/// What waits at a socket.
fn received(socket: &UdpSocket) -> Vec<(Vec<u8>, SocketAddr)> {
    socket.set_nonblocking(true).unwrap();
    let mut received = Vec::new();
    let mut payload = [0; 2048];
    loop {
        match socket.recv_from(&mut payload) {
            Ok((length, from)) => received.push((payload[..length].to_vec(), from)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return received,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Nodes in a line, joined by links of `conditions` both ways.
fn line(nodes: &[&str], conditions: &Direction) -> Spec {
    let link = |ends: &[&str]| LinkSpec {
        between: [ends[0].to_owned(), ends[1].to_owned()],
        forward: conditions.clone(),
        reverse: conditions.clone(),
        sharing: Sharing::All,
    };
    Spec {
        seed: SEED,
        nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        links: nodes.windows(2).map(link).collect(),
        ..Spec::default()
    }
}

/// Runs `body` where namespaces can be made: here, or in this test started again in a user namespace.
fn in_lab(test: &str, body: impl FnOnce()) {
    if lab::is_privileged() {
        match doctor::require(Engine::Lab) {
            Ok(()) => body(),
            Err(missing) => skip(&format!("lab: {missing}"), &["lab"]),
        }
        return;
    }
    assert!(env::var_os(INSIDE).is_none(), "a user namespace gives no rights here");
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").stdin(Stdio::null());
    lab::start_in_user_namespace(&mut again);
    match again.status() {
        Ok(status) => assert!(status.success(), "{test} in a user namespace: {status}"),
        Err(_) => {
            let missing = doctor::require(Engine::Lab).expect_err("there is no user namespace");
            skip(&format!("lab: {missing}"), &["lab"]);
        }
    }
}

/// The interfaces of this process's namespace.
fn interfaces() -> Vec<String> {
    let table = fs::read_to_string("/proc/net/dev").unwrap();
    table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

fn is_running(pid: &str) -> bool {
    // One that nobody has waited for is a zombie: it has ended.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
