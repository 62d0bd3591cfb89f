//! SQS, and whoever replays what it gave up: messages come twice, late and in any order, come again
//! when nobody acknowledged them in time, and are dead after 20 receives.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use real_shared::dead_letter::{self, DeadLetter, REPLAY_OF};

use crate::checks;
use crate::estate::CONSOLIDATED;
use crate::tasks::queue::{MessageAttribute, SqsMessage};
use crate::world::{Event, State};

/// The queues by their URL, and by what of their ARN the tasks look at.
pub(crate) const NOTIFICATIONS: &str = "notifications";
pub(crate) const FILES: &str = "files";
pub(crate) const DEAD_NOTIFICATIONS: &str =
    "arn:aws:sqs:us-east-1:999999999999:insights-notifications-dead";
pub(crate) const DEAD_FILES: &str = "arn:aws:sqs:us-east-1:999999999999:insights-files-dead";

/// A message in a queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) body: Rc<str>,
    pub(crate) receives: u32,
    pub(crate) visible_at: i64,
    sent_at: i64,
    replay_of: Option<Rc<str>>,
}

/// What became of messages that were given up.
#[derive(Debug, Default)]
pub(crate) struct Dead {
    /// All that ever were, by id.
    pub(crate) bodies: BTreeMap<u64, Rc<str>>,
    /// Those that were not replayed since: what they are about stands still.
    pub(crate) not_replayed: BTreeSet<u64>,
    /// How often each letter was marked as replayed, by its key.
    pub(crate) marks: BTreeMap<String, usize>,
    /// How often somebody was alarmed and means to replay them.
    alarms: u32,
}

/// Whoever is alarmed more often sees that a replay does not help. Without an end to it, messages that are
/// doubled on their way would grow in number with every replay.
const ALARMS: u32 = 5;

/// The queue by its URL.
pub(crate) fn of_url(url: &str) -> &'static str {
    if url == FILES { FILES } else { NOTIFICATIONS }
}

/// How long a message is with whoever received it, in seconds.
fn visibility(queue: &str) -> i64 {
    match queue {
        NOTIFICATIONS => 1_800,
        FILES => 5_400,
        _ => 360,
    }
}

/// Where a queue moves what it gives up; what is dead already it keeps.
fn dead_letters_of(queue: &str) -> Option<&'static str> {
    match queue {
        NOTIFICATIONS => Some(DEAD_NOTIFICATIONS),
        FILES => Some(DEAD_FILES),
        _ => None,
    }
}

/// Sends a message, which may come twice, and late.
pub(crate) fn send(state: &mut State, queue: &'static str, body: &str, replay_of: Option<&str>) {
    let body: Rc<str> = body.into();
    let replay_of: Option<Rc<str>> = replay_of.map(Into::into);
    let copies = if state.happens(state.chaos.duplicated) {
        state.figures.duplicates += 1;
        2
    } else {
        1
    };
    for _ in 0..copies {
        let delay = match state.rng.u32(0..4) {
            0 => state.rng.i64(0..300),
            _ => 0,
        };
        let message = Message {
            id: state.id(),
            body: Rc::clone(&body),
            receives: 0,
            visible_at: state.now + delay,
            sent_at: state.now,
            replay_of: replay_of.clone(),
        };
        put(state, queue, message);
    }
}

fn put(state: &mut State, queue: &'static str, message: Message) {
    state.at(message.visible_at, Event::Wake);
    state.queues.entry(queue).or_default().push(message);
}

/// Has a message come again at a time.
pub(crate) fn delay(state: &mut State, queue: &'static str, id: u64, until: i64) {
    let messages = state.queues.entry(queue).or_default();
    if let Some(message) = messages.iter_mut().find(|message| message.id == id) {
        message.visible_at = until;
        state.at(until, Event::Wake);
    }
}

/// Hands messages out, as far as they were not received too often; those are moved.
pub(crate) fn receive(state: &mut State, queue: &'static str, ids: &[u64]) -> Vec<SqsMessage> {
    let again_at = state.now + visibility(queue);
    let dead_letters = dead_letters_of(queue);
    let mut records = Vec::new();
    let mut dead = Vec::new();
    let messages = state.queues.get_mut(queue).expect("it has messages");
    messages.retain_mut(|message| {
        if !ids.contains(&message.id) {
            return true;
        }
        if dead_letters.is_some() && message.receives >= dead_letter::RECEIVES_BEFORE_DEATH {
            dead.push(message.clone());
            return false;
        }
        message.receives += 1;
        message.visible_at = again_at;
        records.push(record(queue, message));
        true
    });
    state.at(again_at, Event::Wake);
    if let Some(dead_letters) = dead_letters {
        for message in dead {
            give_up(state, dead_letters, message);
        }
    }
    records
}

/// Deletes messages; what is dead may come again nevertheless.
pub(crate) fn acknowledge(state: &mut State, queue: &'static str, ids: &[u64]) {
    for id in ids {
        let often = state.chaos.duplicated;
        if dead_letters_of(queue).is_none() && state.happens(often) {
            state.note(|| format!("message {id} comes again"));
            continue;
        }
        let messages = state.queues.entry(queue).or_default();
        messages.retain(|message| message.id != *id);
    }
}

fn give_up(state: &mut State, dead_letters: &'static str, mut message: Message) {
    state.figures.dead_letters += 1;
    state.note(|| format!("message {} is dead: {}", message.id, message.body));
    state
        .dead
        .bodies
        .insert(message.id, Rc::clone(&message.body));
    state.dead.not_replayed.insert(message.id);
    message.visible_at = state.now;
    put(state, dead_letters, message);
    // Somebody is alarmed.
    if state.rng.bool() && state.dead.alarms < ALARMS {
        state.dead.alarms += 1;
        let time = state.now + state.rng.i64(1..900);
        state.at(time, Event::Replay(Replay::Waiting));
    }
}

fn record(queue: &str, message: &Message) -> SqsMessage {
    let sent_at = crate::world::START + message.sent_at;
    let replay_of = message.replay_of.as_ref().map(|id| {
        let string_value = Some(id.to_string());
        (REPLAY_OF.to_owned(), MessageAttribute { string_value })
    });
    SqsMessage {
        message_id: message.id.to_string(),
        receipt_handle: message.id.to_string(),
        body: message.body.to_string(),
        attributes: BTreeMap::from([
            (
                "ApproximateReceiveCount".to_owned(),
                message.receives.to_string(),
            ),
            ("SentTimestamp".to_owned(), (sent_at * 1_000).to_string()),
        ]),
        event_source_arn: queue.to_owned(),
        message_attributes: replay_of.into_iter().collect(),
    }
}

/// Which letters somebody replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Those that wait for it.
    Waiting,
    /// All of them, whatever became of them and of their run.
    All,
}

/// Somebody replays the dead letters, as `s3insights deadletters replay` does: each is sent, and marked
/// afterwards, unless whoever does it is interrupted in between.
pub(crate) fn replay(state: &mut State, which: Replay) {
    state.note(|| format!("somebody replays dead letters: {which:?}"));
    let letters = letters(state);
    for (key, mut letter) in letters {
        let run_id = letter.run_id.as_ref();
        let is_over = run_id.is_some_and(|run_id| checks::is_over(state, run_id));
        if which == Replay::Waiting && (letter.is_replayed() || is_over) {
            continue;
        }
        state.figures.replays += 1;
        let queue = of_url(letter.queue.name());
        let (body, id) = (letter.body.clone(), letter.message_id.clone());
        send(state, queue, &body, Some(&id));
        if let Ok(id) = id.parse() {
            state.dead.not_replayed.remove(&id);
        }
        if state.rng.u32(0..8) == 0 {
            return;
        }
        letter.replayed_at.push(state.timestamp());
        state
            .dead
            .marks
            .insert(key.clone(), letter.replayed_at.len());
        let document = Bytes::from(letter.document());
        state.put_object(CONSOLIDATED, &key, document);
    }
}

/// The letters that are kept, with their keys.
pub(crate) fn letters(state: &State) -> Vec<(String, DeadLetter)> {
    let from = (CONSOLIDATED.to_owned(), dead_letter::PREFIX.to_owned());
    let kept = state.objects.range(from..);
    kept.take_while(|((bucket, key), _)| {
        bucket == CONSOLIDATED && key.starts_with(dead_letter::PREFIX)
    })
    .map(|((_, key), body)| {
        let letter = DeadLetter::parse(body).expect("the keeper writes what the command reads");
        (key.clone(), letter)
    })
    .collect()
}
