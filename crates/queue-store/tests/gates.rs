//! Room that consumers share, and how it comes back.

mod support;

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use leveret_queue_store::{
    ConsumerOptions, Effect, Gate, QueueOptions, Settlement, SlowAction, SlowConsumer,
};
use support::{Subject, message, no_ack, prefetch};

fn through(window: &Arc<Gate>) -> ConsumerOptions {
    ConsumerOptions {
        window: Some(Arc::clone(window)),
        ..no_ack()
    }
}

fn in_channel(channel: &Arc<Gate>) -> ConsumerOptions {
    ConsumerOptions {
        channel_prefetch: Some(Arc::clone(channel)),
        ..prefetch(0)
    }
}

#[test]
fn the_last_to_enter_may_go_beyond_the_limit() {
    let gate = Gate::new(10);
    assert!(gate.try_enter(9));
    assert!(gate.try_enter(100));
    assert_eq!(gate.used(), 109);
    assert!(!gate.try_enter(0));
    assert!(!gate.leave(99));
    assert!(gate.leave(1), "there is room, and somebody was refused");
}

#[test]
fn room_is_announced_once_and_only_to_who_was_refused() {
    let gate = Gate::new(1);
    assert!(gate.try_enter(1));
    assert!(!gate.leave(1));
    assert!(gate.try_enter(1));
    assert!(!gate.try_enter(1));
    assert!(!gate.try_enter(1));
    assert!(gate.leave(1));
    assert!(gate.try_enter(1));
    assert!(!gate.leave(1));
}

#[test]
fn a_limit_of_zero_admits_nothing_and_a_raised_one_is_announced() {
    let gate = Gate::new(0);
    assert!(!gate.try_enter(0));
    assert!(gate.set_limit(1));
    assert!(gate.try_enter(5));
    assert!(!gate.set_limit(3));
    assert!(!gate.try_enter(1));
    assert!(!gate.set_limit(4));
    assert!(gate.set_limit(6));
}

#[test]
fn no_refusal_is_forgotten() {
    // One thread leaves a full gate while another wants in, as close together as threads can be:
    // either the second gets in, or the first is told that somebody did not.
    const ROUNDS: usize = 20_000;
    let gates: Vec<_> = (0..ROUNDS).map(|_| Gate::new(1)).collect();
    assert!(gates.iter().all(|gate| gate.try_enter(1)));
    let round = AtomicUsize::new(0);
    let meet = |number: usize| {
        round.fetch_add(1, Ordering::SeqCst);
        // Spinning brings the two closest together; a machine with one core has to switch.
        for spins in 0.. {
            match round.load(Ordering::SeqCst) < 2 * number {
                true if spins < 1_000 => spin_loop(),
                true => thread::yield_now(),
                false => break,
            }
        }
    };
    let (entered, announced) = thread::scope(|scope| {
        let leave = || in_rounds(&gates, meet, |gate| gate.leave(1));
        let enter = || in_rounds(&gates, meet, |gate| gate.try_enter(1));
        let leaving = scope.spawn(leave);
        (enter(), leaving.join().expect("it only leaves"))
    });
    assert!(
        announced
            .iter()
            .zip(&entered)
            .all(|(announced, entered)| *announced || *entered)
    );
}

/// Meets the other thread before each gate, and says what came out at each.
fn in_rounds(gates: &[Gate], meet: impl Fn(usize), act: impl Fn(&Gate) -> bool) -> Vec<bool> {
    let act = |(number, gate)| {
        meet(number);
        act(gate)
    };
    (1..).zip(gates).map(act).collect()
}

#[test]
fn a_window_bounds_what_one_call_hands_out() {
    let size = message("0").size_bytes();
    let window = Arc::new(Gate::new(2 * size));
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish_all(&["0", "1", "2", "3", "4"]);
    let a = subject.consume(through(&window));
    assert_eq!(subject.delivered().len(), 2);
    assert_eq!(window.used(), 2 * size);

    // Nothing happens before the connection has written and the queue is polled.
    assert!(window.leave(size));
    subject.publish("5");
    assert_eq!(subject.delivered(), []);
    subject.poll();
    assert_eq!(subject.delivered(), [(a, "2".to_owned())]);
    assert!(window.leave(2 * size));
    subject.poll();
    assert_eq!(subject.delivered().len(), 2);
}

#[test]
fn a_message_larger_than_the_window_passes_when_it_comes_first() {
    let window = Arc::new(Gate::new(1));
    let mut subject = Subject::new(QueueOptions::default());
    subject.consume(through(&window));
    subject.publish_all(&["larger than one byte", "next"]);
    assert_eq!(subject.delivered().len(), 1);
    assert_eq!(subject.queue.ready_len(), 1);
}

#[test]
fn a_refused_consumer_does_not_stop_the_others() {
    let closed = Arc::new(Gate::new(0));
    let mut subject = Subject::new(QueueOptions::default());
    let important = ConsumerOptions {
        priority: 9,
        ..through(&closed)
    };
    subject.consume(important);
    let b = subject.consume(no_ack());
    subject.publish_all(&["0", "1"]);
    assert_eq!(
        subject.delivered(),
        [(b, "0".to_owned()), (b, "1".to_owned())]
    );
}

#[test]
fn a_channel_bounds_all_its_consumers_together() {
    let channel = Arc::new(Gate::new(2));
    let mut subject = Subject::new(QueueOptions::default());
    let consumers = [(); 2].map(|()| subject.consume(in_channel(&channel)));
    subject.publish_all(&["0", "1", "2"]);
    let deliveries = subject.deliveries();
    assert_eq!(
        deliveries.iter().map(|(to, _)| *to).collect::<Vec<_>>(),
        consumers
    );
    assert_eq!((channel.used(), subject.queue.ready_len()), (2, 1));

    // Settling makes room here and, as the effect says, in the other queues of the channel.
    subject.settle(deliveries[0].1.id.expect("to be settled"), Settlement::Ack);
    let effects = subject.effects();
    assert_eq!(
        effects[0],
        Effect::GateOpened {
            consumer: consumers[0]
        }
    );
    assert!(matches!(&effects[1..], [Effect::Deliver { .. }]));
    assert_eq!(channel.used(), 2);
}

#[test]
fn queues_of_one_channel_wake_each_other() {
    let channel = Arc::new(Gate::new(1));
    let mut queues = [(); 2].map(|()| Subject::new(QueueOptions::default()));
    for subject in &mut queues {
        subject.consume(in_channel(&channel));
        subject.publish("m");
    }
    let first = queues[0]
        .deliveries()
        .remove(0)
        .1
        .id
        .expect("to be settled");
    assert_eq!(queues[1].effects(), []);
    queues[0].settle(first, Settlement::Ack);
    assert!(matches!(
        queues[0].effects()[..],
        [Effect::GateOpened { .. }]
    ));
    queues[1].poll();
    assert_eq!(queues[1].delivered().len(), 1);
}

#[test]
fn a_cancelled_consumer_still_leaves_its_channel() {
    let channel = Arc::new(Gate::new(1));
    let mut subject = Subject::new(QueueOptions::default());
    let a = subject.consume(in_channel(&channel));
    subject.publish("m");
    let id = subject.deliveries().remove(0).1.id.expect("to be settled");
    assert!(subject.cancel(a));
    assert_eq!(channel.used(), 1);
    subject.settle(id, Settlement::Requeue);
    assert_eq!(channel.used(), 0);
}

#[test]
fn taking_and_not_acknowledging_leave_the_channel_alone() {
    let channel = Arc::new(Gate::new(1));
    let mut subject = Subject::new(QueueOptions::default());
    subject.consume(ConsumerOptions {
        no_ack: true,
        ..in_channel(&channel)
    });
    subject.publish_all(&["0", "1"]);
    assert_eq!((subject.delivered().len(), channel.used()), (2, 0));
}

#[test]
fn a_channel_that_refuses_gives_the_window_back() {
    let (window, channel) = (Arc::new(Gate::new(1)), Arc::new(Gate::new(0)));
    let mut subject = Subject::new(QueueOptions::default());
    subject.consume(ConsumerOptions {
        window: Some(Arc::clone(&window)),
        ..in_channel(&channel)
    });
    subject.publish("m");
    assert_eq!((subject.delivered().len(), window.used()), (0, 0));
    assert_eq!(subject.queue.ready_len(), 1);
}

/// What messages of these bodies take of a window.
fn size_of(bodies: &[String]) -> usize {
    bodies.iter().map(|body| message(body).size_bytes()).sum()
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:100}")).collect()
}

#[test]
fn what_comes_together_takes_as_much_of_a_window_as_one_by_one() {
    // From windows that are too small to enter ahead to one that has room for all.
    for limit in [0, 1, 1_000, 40_000, 70_000, 100_000, 1_000_000] {
        let bodies = numbered(0..500);
        let windows = [(); 2].map(|()| Arc::new(Gate::new(limit)));
        let [mut together, mut alone] = windows.each_ref().map(|window| {
            let mut subject = Subject::new(QueueOptions::default());
            subject.consume(through(window));
            subject
        });
        together.publish_together(&bodies);
        bodies.iter().for_each(|body| alone.publish(body));
        let delivered = alone.delivered();
        assert_eq!(together.delivered(), delivered, "{limit}");
        assert_eq!(windows[0].used(), size_of(&bodies[..delivered.len()]));
        assert_eq!(windows[0].used(), windows[1].used());

        // The same for what had to wait.
        let used = windows[0].used();
        for (window, subject) in windows.iter().zip([&mut together, &mut alone]) {
            let had_to_wait = delivered.len() < bodies.len();
            assert_eq!(window.leave(used), had_to_wait && limit > 0, "{limit}");
            subject.poll();
        }
        assert_eq!(together.delivered(), alone.delivered(), "{limit}");
        assert_eq!(windows[0].used(), windows[1].used());
    }
}

#[test]
fn several_consumers_enter_their_windows_for_each_message() {
    let windows = [(); 2].map(|()| Arc::new(Gate::new(1_000_000)));
    let mut subject = Subject::new(QueueOptions::default());
    let consumers = windows.each_ref().map(|it| subject.consume(through(it)));
    let bodies = numbered(0..100);
    subject.publish_together(&bodies);
    let half = size_of(&bodies[..50]);
    assert_eq!(windows.each_ref().map(|window| window.used()), [half; 2]);
    assert!(subject.cancel(consumers[0]));
    subject.publish_together(&bodies);
    assert_eq!(windows[1].used(), half + size_of(&bodies));
}

#[test]
fn a_consumer_that_is_closed_on_the_way_leaves_nothing_in_its_window() {
    // It has settled nothing when the third message waits for it, and much room was entered ahead.
    let window = Arc::new(Gate::new(1_000_000));
    let mut subject = Subject::new(QueueOptions::default());
    let closes = SlowConsumer {
        action: SlowAction::Close,
        limit: 2,
        limit_bytes: u64::MAX,
        own_window: None,
    };
    subject.consume(ConsumerOptions {
        window: Some(Arc::clone(&window)),
        slow: Some(Box::new(closes)),
        ..prefetch(1)
    });
    let bodies = numbered(0..4);
    subject.publish_together(&bodies);
    let effects = subject.effects();
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::TooSlow { .. })),
        "{effects:?}"
    );
    assert_eq!(window.used(), size_of(&bodies[..1]));
}
