//! The time between connecting to Redis and losing it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use ::redis::{Value, cmd};
use tokio::time::{sleep_until, timeout};

use crate::redis::{
    address::RecordName,
    boot_time::boot_time_ms,
    connect::OnMessage,
    heartbeat::{HeartbeatCall, HeartbeatReply, RegisteredInstance, open_call},
    keeper::{Keeper, SessionEnd},
    random::random_number,
    reading::StreamEntry,
    replies,
    script::{LEAVE_SCRIPT, PUBLISH_SCRIPT, ScriptCall},
    servers::{Line, SendError, Servers},
    settings::{RedisTiming, milliseconds},
    shared::add,
    stamp::{DataEpoch, Stamp},
    stream::StreamReader,
    waiters::WaiterMessage,
};

/// The least time between two heartbeats that acknowledge events.
const ACKNOWLEDGE_INTERVAL: Duration = Duration::from_millis(10);
/// How long a cluster of which a node is away is used as it is.
const PARTIAL_TIME: Duration = Duration::from_secs(15);

/// What changes in a session.
struct SessionState {
    servers: Arc<Servers>,
    /// Redis is used when the events up to this position were applied. `None` if they were.
    catch_up: Option<u64>,
    /// Until when Redis is left alone. `None` if it is not.
    alone_until: Option<Instant>,
    last_beat: Instant,
    /// When the last heartbeat was sent, by CLOCK_BOOTTIME (ms).
    sent_at: u64,
    next_beat: Instant,
    /// What was acknowledged last.
    acknowledged: Option<Stamp>,
    begun: Instant,
}

impl From<SendError> for SessionEnd {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NoNode => Self::Lost,
            SendError::Redis(error) => Self::Refused(replies::reason(&error)),
        }
    }
}

impl Keeper {
    /// Connects and keeps the connections, until one of them is lost or the thread is closed.
    pub(super) async fn session(&mut self) -> SessionEnd {
        match self.connected().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// Says that this instance ends, if Redis answers at once: it may be there again since it was tried last.
    pub(super) async fn leave_at_last(&mut self) {
        let limit = self.shared.timing.leave;
        let leaving = async {
            let mut state = self.connect().await?;
            let published = self.publish_waiting(&mut state).await;
            self.leave(&state).await;
            published
        };
        match timeout(limit, leaving).await {
            Ok(Ok(())) => {}
            Ok(Err(end)) => log::debug!("Redis, at the end: {end}"),
            Err(_) => log::debug!("Redis, at the end: {}", SessionEnd::Silent),
        }
    }

    async fn connect(&self) -> Result<SessionState, SessionEnd> {
        let main_key = self.shared.keys.events();
        let on_message = self.on_message();
        let servers = Servers::connect(&self.connector, &main_key, &on_message).await?;
        let now = Instant::now();
        Ok(SessionState {
            servers: Arc::new(servers),
            catch_up: None,
            alone_until: None,
            last_beat: now,
            sent_at: boot_time_ms(),
            next_beat: now,
            acknowledged: None,
            begun: now,
        })
    }

    async fn connected(&mut self) -> Result<std::convert::Infallible, SessionEnd> {
        let main_key = self.shared.keys.events();
        let mut state = self.connect().await?;
        self.subscribe(&state.servers, &main_key).await;
        let beat = self.first_beat(&mut state).await?;
        state.catch_up = Some(beat.last);
        self.publish_waiting(&mut state).await?;
        let place = state.servers.place_of(&main_key).ok_or(SessionEnd::Odd)?;
        let after = self.reading.last_id().to_owned();
        let mut stream = StreamReader::read(
            self.connector.clone(),
            place.clone(),
            (main_key, after),
            self.shared.timing,
        );
        loop {
            self.step(&mut state, &mut stream).await?;
        }
    }

    /// What is published when a fetch of another instance ends.
    fn on_message(&self) -> OnMessage {
        let waiters = self.waiters.clone();
        Arc::new(move |message| {
            if let Some(name) = RecordName::from_text(message) {
                // The task lives as long as this thread.
                let _ = waiters.send(WaiterMessage::Released(name));
            }
        })
    }

    /// Without a subscription, who waits for a fetch looks from time to time.
    async fn subscribe(&self, servers: &Servers, main_key: &str) {
        let mut command = cmd("SUBSCRIBE");
        command.arg(self.shared.keys.released());
        let subscribed = servers.send(main_key, Line::Quick, &command);
        match timeout(self.shared.timing.answer, subscribed).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log::debug!("Redis: {}", SessionEnd::from(error)),
            Err(_) => log::debug!("Redis: {}", SessionEnd::Silent),
        }
    }

    /// The first heartbeat: it finds out which data are there, and tells Redis what was known before.
    async fn first_beat(&mut self, state: &mut SessionState) -> Result<HeartbeatReply, SessionEnd> {
        let beat = self.beat(state, &[]).await?;
        if self.reading.epoch() == Some(beat.epoch) {
            self.heard(state, &beat);
            return Ok(beat);
        }
        if !beat.notices_restarts {
            // It may have been restarted with older data since, and have given later positions again.
            self.reading.forget_earlier();
        }
        let former = self.former();
        self.reading.begin(beat.epoch);
        self.lease.begin();
        self.show_applied();
        // Instances that the new data do not know may still serve by their leases.
        let beat = match former.is_empty() {
            true => beat,
            false => self.beat(state, &former).await?,
        };
        self.heard(state, &beat);
        match self.reading.epoch() == Some(beat.epoch) {
            true => Ok(beat),
            false => Err(SessionEnd::NewEpoch),
        }
    }

    /// The other instances that were registered, and for how long they still are (ms).
    fn former(&self) -> Vec<(RegisteredInstance, u64)> {
        let (instances, seen_at) = &self.seen;
        let registration = milliseconds(RedisTiming::registration(self.shared.lease));
        let age = boot_time_ms().saturating_sub(*seen_at);
        let left = registration.saturating_sub(age);
        let others = instances.iter().filter(|one| one.id != self.shared.id);
        match left {
            0 => Vec::new(),
            left => others.map(|one| (one.clone(), left)).collect(),
        }
    }

    async fn beat(
        &mut self,
        state: &mut SessionState,
        former: &[(RegisteredInstance, u64)],
    ) -> Result<HeartbeatReply, SessionEnd> {
        let shared = Arc::clone(&self.shared);
        let applied = self.reading.applied();
        let received = self.reading.known();
        let call = HeartbeatCall {
            fresh: DataEpoch(random_number()),
            received,
            id: &shared.id,
            name: &self.name,
            applied: applied.map_or(0, |stamp| stamp.position),
            registration_ms: milliseconds(RedisTiming::registration(shared.lease)),
            former,
        };
        let (sent_at, begun, wall) = (boot_time_ms(), Instant::now(), (self.wall_clock_ms)());
        let reply = call.send(&state.servers, &shared.keys, &shared.timing);
        let reply = timeout(shared.timing.answer, reply).await;
        let beat = reply
            .map_err(|_| SessionEnd::Silent)??
            .ok_or(SessionEnd::Odd)?;
        let took = begun.elapsed();
        state.last_beat = begun;
        state.next_beat = begun + shared.timing.heartbeat;
        state.acknowledged = applied;
        state.sent_at = sent_at;
        let half = i64::try_from(took.as_millis() / 2).unwrap_or_default();
        let time = i64::try_from(beat.time_ms).unwrap_or(i64::MAX);
        let difference = time.saturating_sub(wall.saturating_add(half));
        shared
            .clock_difference_ms
            .store(difference, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        shared
            .numbers
            .round_trip_us
            .store(took_us, Ordering::Relaxed);
        shared
            .notices_restarts
            .store(beat.notices_restarts, Ordering::Relaxed);
        let may_return = state.alone_until.is_some_and(|until| begun >= until);
        if may_return && took < shared.timing.hard_limit {
            state.alone_until = None;
            shared.trust_again();
        }
        Ok(beat)
    }

    /// Notes what a heartbeat of the present data has said.
    fn heard(&mut self, state: &SessionState, beat: &HeartbeatReply) {
        let is_known = self.reading.epoch() == Some(beat.epoch);
        if is_known {
            self.lease.heard(state.sent_at, beat.last);
            self.seen = (beat.instances.clone(), boot_time_ms());
            self.shared
                .instances
                .store(Arc::new(beat.instances.clone()));
        }
        if is_known && let Some(applied) = self.reading.applied() {
            self.lease.applied(applied.position);
        }
        log::trace!("Redis: heartbeat after {:?}", state.begun.elapsed());
    }

    /// Waits for the next thing to do, and does it.
    async fn step(
        &mut self,
        state: &mut SessionState,
        stream: &mut StreamReader,
    ) -> Result<(), SessionEnd> {
        self.show(state);
        let shared = Arc::clone(&self.shared);
        let servers = Arc::clone(&state.servers);
        let lease_end = self.lease_end();
        tokio::select! {
            () = servers.lost.notified() => Err(SessionEnd::Lost),
            page = stream.pages.recv(), if self.reading.has_room() => {
                self.receive(state, page.ok_or(SessionEnd::Lost)?)
            }
            call = self.calls.recv() => {
                let is_closing = self.take(call);
                self.publish_waiting(state).await?;
                match is_closing {
                    true => Err(self.leave(state).await),
                    false => Ok(()),
                }
            }
            () = shared.confirms.notified() => {
                self.confirmed();
                self.acknowledge_soon(state);
                Ok(())
            }
            () = sleep_until(lease_end.into()) => {
                self.look_at_lease();
                Ok(())
            }
            () = shared.troubles.notified() => {
                self.leave_alone(state);
                Ok(())
            }
            () = sleep_until(state.next_beat.into()) => self.beat_again(state).await,
        }
    }

    async fn beat_again(&mut self, state: &mut SessionState) -> Result<(), SessionEnd> {
        let beat = self.beat(state, &[]).await?;
        if self.reading.epoch() != Some(beat.epoch) {
            return Err(SessionEnd::NewEpoch);
        }
        self.heard(state, &beat);
        match state.servers.is_partial() && state.begun.elapsed() > PARTIAL_TIME {
            true => Err(SessionEnd::Partial),
            false => Ok(()),
        }
    }

    /// Shows whether Redis may be used.
    fn show(&mut self, state: &mut SessionState) {
        let applied = self.reading.applied();
        if state
            .catch_up
            .zip(applied)
            .is_some_and(|(goal, applied)| applied.position >= goal)
        {
            state.catch_up = None;
        }
        let is_usable = applied.is_some()
            && state.catch_up.is_none()
            && self.outbox.is_empty()
            && !self.shared.is_left_alone();
        let has_changed = self
            .shared
            .show_servers(is_usable.then_some(&state.servers));
        if has_changed && is_usable && self.pauses.ends() {
            log::info!("Redis is in use again");
        }
        if has_changed && !is_usable {
            let reason = "what other instances have ended is applied first";
            self.shared.reason.store(Arc::new(reason.into()));
        }
    }

    fn receive(
        &mut self,
        state: &mut SessionState,
        page: Vec<StreamEntry>,
    ) -> Result<(), SessionEnd> {
        add(&self.shared.numbers.events, page.len() as u64);
        let before = self.reading.applied();
        for entry in page {
            let position = entry.position;
            let settled = self.outbox.settled();
            let received = self.reading.receive(entry, settled);
            received.map_err(|_| SessionEnd::NewEpoch)?;
            if before.is_some() && self.reading.applied().is_none() {
                // Entries were missing: Redis is used when what follows was applied.
                state.catch_up = Some(state.catch_up.unwrap_or_default().max(position));
            }
        }
        self.show_applied();
        Ok(())
    }

    /// Acknowledges what was applied with the next heartbeat, which comes soon.
    fn acknowledge_soon(&self, state: &mut SessionState) {
        if self.reading.applied() != state.acknowledged {
            let soon = state.last_beat + ACKNOWLEDGE_INTERVAL;
            state.next_beat = state.next_beat.min(soon);
        }
    }

    /// Leaves Redis alone for a while, but for the heartbeat.
    fn leave_alone(&mut self, state: &mut SessionState) {
        if state.alone_until.is_some() || !self.shared.is_left_alone() {
            return;
        }
        let reason = "Redis was too slow or failed";
        self.shared.reason.store(Arc::new(reason.into()));
        let now = Instant::now();
        state.alone_until = Some(self.pauses.begin(now));
        if self.pauses.is_logged(now) {
            log::warn!("Redis is not in use for a while: it was too slow or failed");
        }
    }

    /// Publishes what waits. Nothing else is read or written before.
    async fn publish_waiting(&mut self, state: &mut SessionState) -> Result<(), SessionEnd> {
        while !self.outbox.is_empty() {
            let batch = self.outbox.batch();
            let epoch = self.reading.epoch().ok_or(SessionEnd::Odd)?;
            let received = Stamp {
                epoch,
                position: self.reading.received(),
            };
            let fresh = DataEpoch(random_number());
            let timing = self.shared.timing;
            let mut call = open_call(&self.shared.keys, fresh, Some(received), &timing)
                .arg(self.shared.id.as_str())
                .number(timing.stream_events);
            for (token, bytes) in &batch {
                call = call.number(*token).arg(bytes.to_vec());
            }
            let reply = PUBLISH_SCRIPT.run(&state.servers, Line::Quick, &call);
            let reply = timeout(timing.answer, reply).await;
            let reply = reply.map_err(|_| SessionEnd::Silent)??;
            let last = read_published(reply).ok_or(SessionEnd::Odd)?;
            self.outbox.published(batch.len(), last);
            let waiting = self.outbox.len() as u64;
            self.shared
                .numbers
                .waiting_events
                .store(waiting, Ordering::Relaxed);
            if last.epoch != epoch {
                return Err(SessionEnd::NewEpoch);
            }
            state.catch_up = state.catch_up.map(|goal| goal.max(last.position));
        }
        self.mark.remove();
        Ok(())
    }

    /// Removes the registration of this instance.
    async fn leave(&self, state: &SessionState) -> SessionEnd {
        let keys = crate::redis::heartbeat::stream_keys(&self.shared.keys);
        let call = ScriptCall::new(keys).arg(self.shared.id.as_str());
        let left = LEAVE_SCRIPT.run(&state.servers, Line::Quick, &call);
        // Without an answer the registration ends by itself.
        let _ = timeout(self.shared.timing.answer, left).await;
        SessionEnd::Closed
    }
}

fn read_published(reply: Value) -> Option<Stamp> {
    let mut parts = replies::list(reply)?.into_iter();
    Some(Stamp {
        epoch: DataEpoch::from_text(&replies::text(parts.next()?)?)?,
        position: replies::number(parts.next()?)?,
    })
}
