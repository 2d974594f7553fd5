//! One visit of the host to a session: everything that may leave on its connection leaves here.

use crate::downstream::session_of;
use crate::effects::TimerKey;
use crate::metrics::MediaMetrics;
use crate::node::{Hosted, Node};
use crate::session::{Kind, Session, Turn};
use crate::tracks::Tracks;
use sluice_moqt::RequestId;
use sluice_moqt::error::{DoneCode, SessionCode};
use sluice_moqt::message::PublishDone;
use sluice_moqt::transport::{SessionId, StreamSink, Urgency};
use sluice_track::Stats;
use std::time::Instant;

impl Node {
    /// Writes what `id` may send now.
    pub(crate) fn visit(&mut self, now: Instant, id: SessionId, sink: &mut dyn StreamSink) {
        self.effects.visited(id);
        match self.sessions.get_mut(id) {
            Some(Hosted::Moq(_)) => self.visit_moq(now, id, sink),
            Some(Hosted::Control(control)) => {
                if let Err(error) = control.select(sink) {
                    self.close(id, SessionCode::InternalError, error.to_string());
                }
            }
            None => {}
        }
    }

    fn visit_moq(&mut self, now: Instant, id: SessionId, sink: &mut dyn StreamSink) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        session.clean_up(sink);
        if session.protocol.wants_transmit() {
            session.protocol.transmit(sink);
        }
        let mut ready = session.take_ready();
        let mut round = Round::new(now);
        // What fills the transport, or would.
        let alone = ready.len() < 2 && session.down.filled_by.is_none();
        let others = ready.last().filter(|_| !alone).into_iter().chain(&session.down.filled_by);
        let least = others.map(Turn::urgency).max();
        ready.retain_mut(|turn| {
            let is_urgent = Some(turn.urgency()) < least;
            if is_urgent {
                sink.set_urgency(Urgency::Urgent);
            }
            let stays = round.take_turn(session, &mut self.tracks, turn, sink);
            if is_urgent {
                sink.set_urgency(Urgency::Usual);
            }
            stays
        });
        // Nothing was marked meanwhile; putting the vector back keeps its memory.
        debug_assert!(session.down.ready.is_empty());
        session.down.ready = ready;
        session.down.filled_by = round.filled_by.or(session.down.filled_by);
        round.count_into(&mut self.metrics.media, &session.kind);
        if let Some(link) = session.kind.pop().and_then(|pop| self.links.get_mut(pop)) {
            link.traffic.sent += round.stats.bytes;
            // What a fetch brings was appended before the trunk carried the track.
            link.traffic.carried += round.fetched_bytes;
        }
        // Readers that go on have nothing more to say.
        let (fetching, ended) = (!session.down.fetches.is_empty(), !round.finished.is_empty());
        for request in round.finished {
            self.on_reader_finished(now, id, request);
        }
        if round.again {
            self.effects.wake(id);
        }
        self.timers.arm(TimerKey::Session(id), round.deadline);
        if !fetching && !ended {
            return;
        }
        self.fill_fetches(now, id);
        if let Some(session) = session_of(&mut self.sessions, id)
            && session.protocol.wants_transmit()
        {
            session.clean_up(sink);
            session.protocol.transmit(sink);
        }
    }

    /// Everything of a request was sent.
    fn on_reader_finished(&mut self, now: Instant, id: SessionId, request: RequestId) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        if let Some(sub) = session.down.subs.remove(&request) {
            let ended = self.tracks.get(sub.track).is_some_and(|track| track.log.ended());
            let (code, reason) = if ended {
                (DoneCode::TrackEnded, "the track has ended")
            } else {
                (DoneCode::SubscriptionEnded, "the end of the range is reached")
            };
            let streams = Some(sub.cursor.streams_opened());
            session.protocol.publish_done(request, PublishDone { code, streams, reason: reason.to_owned() });
            self.remove_reader(now, sub.track, id, request);
        } else if let Some(job) = session.down.fetches.remove(&request) {
            session.protocol.fetch_done(request);
            self.remove_reader(now, job.track, id, request);
        }
    }
}

/// What one visit found out, over all readers that had their turn.
#[derive(Debug)]
struct Round {
    now: Instant,
    finished: Vec<RequestId>,
    /// Who took the last of the room that there was.
    filled_by: Option<Turn>,
    again: bool,
    deadline: Option<Instant>,
    stats: Stats,
    fetched_bytes: u64,
}

impl Round {
    fn new(now: Instant) -> Self {
        let (finished, stats) = (Vec::new(), Stats::default());
        Self { now, finished, filled_by: None, again: false, deadline: None, stats, fetched_bytes: 0 }
    }

    /// One reader's turn. True: it stays in line, blocked or with more to send.
    fn take_turn(
        &mut self,
        session: &mut Session,
        tracks: &mut Tracks,
        turn: &mut Turn,
        sink: &mut dyn StreamSink,
    ) -> bool {
        let request = turn.request;
        let (selected, done, deadline, queued) = if let Some(sub) = session.down.subs.get_mut(&request) {
            let Some(track) = tracks.get_mut(sub.track) else { return false };
            let selected = sub.cursor.select(self.now, &mut track.log, sink);
            self.add(sub.cursor.take_stats());
            let idle = !selected.blocked && !selected.pending;
            if !idle {
                turn.follow(sub);
            }
            (selected, idle && sub.cursor.finished(self.now, &track.log), sub.cursor.poll_timeout(), &mut sub.queued)
        } else if let Some(job) = session.down.fetches.get_mut(&request) {
            let Some(track) = tracks.get_mut(job.track) else { return false };
            let joined = job.joins.and_then(|joins| session.down.subs.get(&joins));
            if joined.is_some_and(|sub| sub.cursor.has_skipped(job.range.last.group)) {
                job.reader.give_up(sink);
            }
            let selected = job.reader.select(self.now, &mut track.log, sink);
            let stats = job.reader.take_stats();
            self.fetched_bytes += stats.bytes;
            self.add(stats);
            (selected, job.reader.finished(), job.reader.poll_timeout(), &mut job.queued)
        } else {
            return false;
        };
        if done {
            self.finished.push(request);
        }
        if selected.wrote > 0 && (selected.blocked || selected.pending) {
            self.filled_by = Some(*turn);
        }
        self.again |= selected.pending;
        self.deadline = [self.deadline, deadline].into_iter().flatten().min();
        *queued = !done && (selected.blocked || selected.pending);
        *queued
    }

    const fn add(&mut self, stats: Stats) {
        self.stats.bytes += stats.bytes;
        self.stats.objects += stats.objects;
        self.stats.groups_skipped += stats.groups_skipped;
        self.stats.dropped.timeout += stats.dropped.timeout;
        self.stats.dropped.lag += stats.dropped.lag;
        self.stats.dropped.oversize += stats.dropped.oversize;
    }

    fn count_into(&self, media: &mut MediaMetrics, kind: &Kind) {
        media.groups_skipped_total += self.stats.groups_skipped;
        media.dropped_timeout_total += self.stats.dropped.timeout;
        media.dropped_behind_total += self.stats.dropped.lag;
        media.dropped_datagram_size_total += self.stats.dropped.oversize;
        if *kind == Kind::User {
            media.viewer_bytes_total += self.stats.bytes;
            media.viewer_objects_total += self.stats.objects;
        }
    }
}
