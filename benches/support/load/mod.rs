//! The load side: all viewers of a run in one thread on the load core, on quinn-proto without an async runtime.
//!
//! It has to take 2 Gbit/s on the core that is left, so it does per packet what quinn-proto demands and little else,
//! and it says how busy it was.

mod dialogue;
mod frames;
mod port;
mod publisher;
mod reader;
mod script;
mod tally;
mod viewer;

use crate::support::machine::{self, Core};
use crate::support::protocol::{self, Case, Hello, Join, Run, Window};
use crate::support::socket::Inbox;
use crate::support::{clock, tls};
use anyhow::{Context as _, bail};
use port::Port;
use publisher::Publisher;
use quinn_proto::{ClientConfig, TransportConfig};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally::Tally;
use viewer::Viewer;

/// Viewers share these.
const PORTS: usize = 8;
/// Handshakes under way at once.
const DIALS: usize = 16;
/// How exact timers are.
const TICK: Duration = Duration::from_millis(1);
/// Longest sleep, so that a window's edges are seen.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long after the window's end a frame may still arrive.
const GRACE_NS: u64 = 700_000_000;

/// Receives what `sender` serves until the parent goes away.
pub(crate) fn run(run: Run, sender: &Hello) -> anyhow::Result<()> {
    machine::pin(Core::Load)?;
    let _publisher = match run.case {
        Case::Relay | Case::Daemon => Some(Publisher::start(run, sender)?),
        // These make their frames themselves.
        Case::Quinn | Case::Bare => None,
    };
    let mut load = Load::new(run, sender)?;
    let started = clock::wall_ns();
    while load.joined() < run.viewers {
        load.dial()?;
        load.turn(Listen::Not)?;
        if load.tally.lost_viewers > 0 {
            bail!("a viewer was refused or cut off while joining");
        }
    }
    protocol::say(&load.tally.joins((clock::wall_ns() - started) as f64 / 1e9))?;
    while let Heard::Nothing = load.turn(Listen::ToParent)? {}
    Ok(())
}

/// Whether a turn also waits for the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listen {
    Not,
    ToParent,
}

/// What a turn heard from the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    End,
}

struct Load {
    run: Run,
    config: ClientConfig,
    ports: Vec<Port>,
    viewers: Vec<Viewer>,
    /// Viewers that got something in this turn.
    dirty: Vec<usize>,
    inbox: Inbox,
    tally: Tally,
    next_scan: Instant,
    /// Earliest deadline of all viewers, as of the last scan.
    wake: Instant,
}

impl Load {
    fn new(run: Run, sender: &Hello) -> anyhow::Result<Self> {
        let tls = tls::client(&sender.certificate, run.case.alpn())?;
        let mut config = ClientConfig::new(tls);
        let mut transport = TransportConfig::default();
        transport.max_concurrent_uni_streams(16u32.into()).max_concurrent_bidi_streams(16u32.into());
        config.transport_config(Arc::new(transport));
        let now = clock::now();
        Ok(Self {
            run,
            config,
            ports: (0..PORTS.min(run.viewers)).map(|_| Port::bind(sender.address)).collect::<anyhow::Result<_>>()?,
            viewers: Vec::with_capacity(run.viewers),
            dirty: Vec::with_capacity(run.viewers),
            inbox: Inbox::new(),
            tally: Tally::new()?,
            next_scan: now,
            wake: now,
        })
    }

    /// Viewers that have what they came for.
    fn joined(&self) -> usize {
        self.viewers.iter().filter(|viewer| viewer.is_served()).count()
    }

    /// Opens the next connections, a few at a time.
    fn dial(&mut self) -> anyhow::Result<()> {
        let (mut pending, most) = match self.run.join {
            Join::NextGroup => (self.viewers.iter().filter(|viewer| !viewer.is_connected()).count(), DIALS),
            // Nobody's handshake delays another's first object.
            Join::Warm => (self.viewers.len() - self.joined(), 1),
        };
        while self.viewers.len() < self.run.viewers && pending < most {
            let index = self.viewers.len();
            let port = index % self.ports.len();
            let now = clock::now();
            let (handle, connection) = self.ports[port].dial(now, self.config.clone(), index)?;
            // The first viewer makes the track flow.
            let join = if index == 0 { Join::NextGroup } else { self.run.join };
            let mut viewer = Viewer::new(port, handle, connection, Run { join, ..self.run });
            viewer.transmit(now, &mut self.ports[port], &mut self.tally)?;
            self.viewers.push(viewer);
            pending += 1;
        }
        Ok(())
    }

    /// Waits for packets, a timer or the parent, and deals with all of them.
    fn turn(&mut self, listen: Listen) -> anyhow::Result<Heard> {
        let ready = self.wait(listen)?;
        for (index, readable) in ready.ports.into_iter().enumerate() {
            if readable {
                self.receive(index)?;
            }
        }
        let now = clock::now();
        while let Some(index) = self.dirty.pop() {
            let viewer = &mut self.viewers[index];
            let port = viewer.port();
            viewer.settle(now, &mut self.ports[port], &mut self.tally)?;
            self.wake = viewer.deadline().map_or(self.wake, |deadline| self.wake.min(deadline));
        }
        self.run_timers()?;
        if let Some(report) = self.tally.turn(clock::wall_ns()) {
            protocol::say(&report)?;
        }
        if ready.parent {
            match protocol::hear::<Window>()? {
                Some(window) => self.tally.open(window, GRACE_NS),
                None => return Ok(Heard::End),
            }
        }
        Ok(Heard::Nothing)
    }

    fn wait(&self, listen: Listen) -> anyhow::Result<Ready> {
        let pause = self.wake.saturating_duration_since(clock::now()).clamp(TICK, PATIENCE);
        let pause = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
        let stdin = std::io::stdin();
        let mut waiting = self.ports.iter().map(|port| PollFd::new(port.socket(), PollFlags::IN)).collect::<Vec<_>>();
        if listen == Listen::ToParent {
            waiting.push(PollFd::new(&stdin, PollFlags::IN));
        }
        poll(&mut waiting, Some(&pause)).context("waiting for packets")?;
        let mut ports = waiting.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
        let parent = listen == Listen::ToParent && ports.pop().unwrap_or(false);
        Ok(Ready { ports, parent })
    }

    /// Takes one batch of trains from a port and feeds them packet by packet.
    fn receive(&mut self, index: usize) -> anyhow::Result<()> {
        let Self { ports, viewers, inbox, tally, dirty, .. } = self;
        let port = &mut ports[index];
        let trains = port.receive(inbox)?;
        let (now, unix_lead_ns) = (clock::now(), clock::unix_lead_ns());
        for train in 0..trains {
            let (meta, bytes) = inbox.train(train);
            tally.train(meta);
            // The kernel's stamp: a frame that waits for this core has reached its viewer.
            let stamp_ns = meta.timestamp.and_then(|unix| u64::try_from(unix.as_nanos()).ok());
            let arrived_ns = stamp_ns.map_or_else(clock::wall_ns, |unix_ns| unix_ns.saturating_sub(unix_lead_ns));
            port.split(now, meta, bytes, |port, viewer, event| {
                let viewer_index = viewer;
                let Some(viewer) = viewers.get_mut(viewer_index) else { return Ok(()) };
                if viewer.mark_dirty(arrived_ns) {
                    dirty.push(viewer_index);
                }
                viewer.packet(now, event, port, tally)
            })?;
        }
        Ok(())
    }

    fn run_timers(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        if now < self.next_scan || now < self.wake {
            return Ok(());
        }
        self.next_scan = now + TICK;
        self.wake = now + PATIENCE;
        for viewer in &mut self.viewers {
            let port = viewer.port();
            viewer.expire(now, &mut self.ports[port], &mut self.tally)?;
            self.wake = viewer.deadline().map_or(self.wake, |deadline| self.wake.min(deadline));
        }
        Ok(())
    }
}

/// What is readable.
struct Ready {
    ports: Vec<bool>,
    parent: bool,
}
