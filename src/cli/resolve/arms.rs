//! Who accepts: `--accept` and what goes with it, and the flags that mean nothing without a master
//! that accepts.
//!
//! Not here: what the arms do (`worker::accepting`, docs/accept.md).

use crate::cli::faults::{Given, Reader};
use crate::cli::raw::RawServe;
use crate::cli::resolve::number_u16;
use crate::cli::values;
use crate::config::{self, Accept, App, Arm, Bind, Queues, Selector};

/// Reads who accepts, and refuses what does not go with it.
pub(super) fn accept(
    raw: &RawServe,
    app: &App,
    binds: &[Bind],
    threads: u16,
    reader: &mut Reader<'_>,
) -> Accept {
    let arms = Arm::ALL.map(|arm| (arm.name(), arm));
    let given = reader
        .value("--accept", raw.accept.as_deref(), |text| values::one_of(text, &arms))
        .unwrap_or(Given { name: "--accept".into(), value: Arm::default(), typed: false });
    let arm = given.value;
    check_surroundings(&given, app, binds, threads, reader);
    if arm.is_kernels() {
        refuse_what_the_master_decides(raw, arm, reader);
    }
    let eager = reader.value("--accept-eager", raw.accept_eager.as_deref(), values::switch);
    let batch = reader.value("--accept-batch", raw.accept_batch.as_deref(), |text| {
        number_u16(text, 1..=u64::from(config::ACCEPT_BATCH_MAX))
    });
    let selector = reader.value("--cbpf", raw.cbpf.as_deref(), |text| {
        values::one_of(text, &[("random", Selector::Random), ("cpu", Selector::Cpu)])
    });
    let can_be_eager = matches!(arm, Arm::Shared | Arm::Exclusive) && threads > 0;
    // A variable may be set for many servers; a flag was typed for this one.
    if !can_be_eager && eager.as_ref().is_some_and(|given| given.typed && given.value) {
        let refusal = "needs --accept shared or exclusive, and handler threads";
        reader.refuse("--accept-eager", None, refusal);
    }
    let batches = arm.is_kernels() && arm != Arm::Blocking;
    if !batches && batch.as_ref().is_some_and(|given| given.typed) {
        let refusal = "needs --accept shared, exclusive, reuseport or reuseport-cbpf";
        reader.refuse("--accept-batch", None, refusal);
    }
    if arm != Arm::ReuseportCbpf && selector.as_ref().is_some_and(|given| given.typed) {
        reader.refuse("--cbpf", None, "needs --accept reuseport-cbpf");
    }
    Accept {
        arm,
        eager: can_be_eager && eager.is_some_and(|given| given.value),
        batch: batch.filter(|_| batches).map_or(arm.batch_default(), |given| given.value),
        selector: selector.map(|given| given.value).unwrap_or_default(),
        ..Accept::default()
    }
}

fn check_surroundings(
    given: &Given<Arm>,
    app: &App,
    binds: &[Bind],
    threads: u16,
    reader: &mut Reader<'_>,
) {
    let arm = given.value;
    let mut refuse = |refusal: &str| {
        reader.refuse(&given.name, Some(arm.name().into()), refusal);
    };
    if arm.is_kernels() && matches!(app, App::Command(_)) {
        refuse("needs workers of this program: a CMD is lent its connections (master)");
    }
    if arm.queues() == Queues::Private && !binds.iter().all(|bind| matches!(bind, Bind::Tcp(_))) {
        refuse("needs TCP addresses of its own: only those can be shared (SO_REUSEPORT)");
    }
    if arm == Arm::Blocking && threads > 0 {
        refuse("needs --threads 0: who accepts is who handles");
    }
    if arm == Arm::Blocking && binds.len() > 1 {
        refuse("needs one address: accept(2) waits for one listener");
    }
}

fn refuse_what_the_master_decides(raw: &RawServe, arm: Arm, reader: &mut Reader<'_>) {
    let typed = [
        ("--balance", &raw.balance),
        ("--weights", &raw.weights),
        ("--rebalance", &raw.rebalance),
        ("--credit", &raw.credit),
        ("--queue-timeout", &raw.queue_timeout),
        ("--max-queue", &raw.max_queue),
        ("--stall-after", &raw.stall_after),
        ("--report-age", &raw.report_age),
    ];
    for (flag, _) in typed.into_iter().filter(|(_, text)| text.is_some()) {
        let refusal = format!("needs --accept master: with {arm} the kernel decides");
        reader.refuse(flag, None, refusal);
    }
}
