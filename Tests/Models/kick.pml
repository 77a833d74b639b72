/* The kick protocol of Sources/VCPURuntime as a model for Spin 6.5; `run` beside this file checks it.
 *
 * Specification: Sources/VCPURuntime/Documentation.docc/KickProtocol.md, whose steps (K1 to K3, N1 to N3, H, T0 to T8)
 * are named here. Code: RequestWord.swift, VCPU.swift, AnswerNotifier.swift, VCPULoop.swift, CKVM/vcpu.c,
 * CKVM/x86_64/entry.S; its names are in brackets.
 *
 * Parties: kickers; an owner, who sets goals and joins; the vCPU's thread; its signal handler, which may run between
 * any two instructions of the thread in user space; the kernel, which polls immediate_exit once and then runs the
 * guest until a signal is pending.
 *
 * PROPERTIES
 *   answered  Every kicker and the owner come to their end: no kick is lost, no wake-up of a waiter or of the sleeping
 *             thread is lost. The guest leaves by itself EXITS times and then never again, so a lost kick leaves its
 *             waiter asleep and the guest running for ever: an invalid end state. Nobody comes to its rescue by
 *             accident: each party may stop asking after any of its requests, and nothing is sent again (but in
 *             RESEND). Every run is finite, since counters bound all loops; `run` proves that too, by a search for
 *             non-progress cycles in which no state counts as progress. Finite runs that all end well: that is
 *             liveness, under any scheduler. Only where the guest leaves again and again without bound (ENDLESS) is
 *             `answered` an LTL claim under weak fairness (who can go on, does so in the end).
 *   stale     Who is answered was served: its generation was taken from the word and acted upon (`acted`), and the
 *             thread was out of the guest after it was published (`covered`).
 *   quiet     From the answer to a pause until the next goal, the guest does not run and no port or memory access is
 *             unfinished. Completing an access does not run the guest either.
 *   work      A kick cancels the piece of work that it was aimed at, or none.
 *   runs      Each stop is told to the owner, once, before it is answered: in the run that it was meant for.
 *   joined    The thread ends when its owner wants it to, and is not signalled once it has been joined.
 *
 * WHY INTERLEAVING IS ENOUGH (x86-TSO; C11 with the orders that the code uses)
 *   The request word and the served word are changed by read-modify-write only. On x86 these stand in one total order
 *   and drain the store buffer: each is one step here. A loop of compare and exchange is one step as well, since the
 *   word that it replaces is the word from which it computed. Plain loads remain: the stub's look at the reasons, a
 *   waiter's and the sleeper's first look at their words. A load that yields an old value is a load that came earlier:
 *   an interleaving; and that old values do no harm is what is proved. Plain stores remain to immediate_exit and to
 *   the handler's time stamp: the thread and the handler that interrupts it write them, and the kernel reads the flag
 *   on behalf of the same thread, which sees its own stores in order. So no store buffer can be noticed. Where plain
 *   stores to one word and loads of another decide (SEPARATE_WORDS), the model has store buffers.
 *
 *   The notifier's word (`news`) is read before the scan and compared by the kernel as it sleeps, as one step.
 *
 * NOT MODELLED: time (pacing, deadlines but for GIVE_UP), counts and phases, other signals, the wrap of generations.
 *
 * MECHANISM, one of IMMEDIATE_EXIT, SIGNAL_MASK, IP_FIXUP, SIGNAL_ONLY (which is racy).
 *
 * SETUP
 *   (default)  KICKERS kickers of up to KICKS kicks each; the vCPU runs from the start; nobody sets goals.
 *   OWNER      An owner starts the parked vCPU, may pause and resume it PAUSES times, and joins it, either when the
 *              kickers are done or in their midst. Accesses may take several steps, idle, or end the guest.
 *   WORK       The guest finishes pieces of work; each kick is meant to cancel one.
 *   GIVE_UP    One kick may time out.     RESEND  Two signals or wake-ups may be sent again.
 *   NOTIFY     Kickers and owner do not sleep on the served word: the notifier calls them (N1 to N3).
 *   SIGNAL_FAILS  Two signals cannot be sent when they are due; the notifier sends them later.
 *   T0         The thread unblocks the signal after its first KVM_RUN. With OWNER.
 *   STOPS      The owner may stop the vCPU before it joins. With OWNER.
 *   RESETS     The owner stops the vCPU, resets it, starts and stops it again. It waits for each answer but the last, or
 *              not. With OWNER.
 *   ENDLESS    The guest leaves by itself as often as it likes, or stays for ever.
 *   NO_STUB_CHECK, TAKE_SWAPPED  The stub does not look at the word; the thread takes the requests before it clears
 *              the flag. Each alone is harmless for IMMEDIATE_EXIT and SIGNAL_MASK: two defences, either suffices.
 *
 * MUTATIONS, and what the shortest counterexample of each shows
 *   SIGNAL_ONLY          The signal is handled between the stub's look and `syscall`, and leaves nothing behind. The
 *                        guest is entered; the mark says that a signal is on its way, so no later kick sends one.
 *   SIGNAL_WITHOUT_FLAG  The same, with a handler that does not set immediate_exit.
 *   FLAG_WITHOUT_SIGNAL  The kicker sets immediate_exit after the kernel has polled it: the guest runs on.
 *   READ_BEFORE_CLEAR    After the thread took the requests, a second kicker publishes and its signal is handled; then
 *                        the thread wipes the flag (or drains the signal) and enters. It takes two kickers, or one that
 *                        did not wait.
 *   BOOLEAN_ACK          A second kicker publishes after the thread took the first's request, and finds the yes that
 *                        was meant for the first.
 *   SEPARATE_WORDS       The second kicker's request is in its store buffer while it reads that a signal is on its
 *                        way; the thread takes that mark away and reads no second request; the guest is entered, and
 *                        then the store becomes visible. With DRAINED (no store buffers) it verifies: it is exactly
 *                        the store buffer that breaks it.
 *   WAKE_WITHOUT_RMW     The thread reads that nobody waits; the waiter sets its bit and goes to sleep; the thread
 *                        stores the generation, and wakes nobody.
 *   PARK_WITHOUT_RECHECK A request comes after the thread took none, and its signal is handled before the thread goes
 *                        to sleep: it sleeps on a word that will not change, for the mark says a signal is coming.
 *   PARK_WITHOUT_COMPARE The wake-up comes between the thread's PARKED mark and its sleep, and finds nobody.
 *   SHORT_WINDOW         IP_FIXUP's window without the `syscall` instruction itself: handled there, lost.
 *   NO_STUB_CHECK        with IP_FIXUP: handled before the window, and then nobody looks.
 *   JOIN_BEFORE_ANSWER   A kicker has published and not yet signalled; the owner's last request shares that signal;
 *                        the owner takes the thread's handle away, and the kicker finds nobody to signal. The guest
 *                        runs on, and the join never returns.
 *   JOIN_GIVES_UP        With SIGNAL_FAILS: the owner takes the signal that could not be sent for the vCPU's end, and
 *                        unmaps the guest's memory under a thread that is still there.
 *   NOTICE_WITHOUT_RMW   With NOTIFY, here and below: a kicker reads that it has not been answered; the thread answers,
 *                        and finds no mark; then the kicker sets the mark.
 *   SCAN_WITHOUT_MARK    The thread answers an earlier request, and takes the mark away; it answers the later one without
 *                        waking the notifier.
 *   NEWS_AFTER_SCAN      The thread answers after the notifier has looked, before it reads the news that it then sleeps
 *                        on.
 *   PAUSE_WITHOUT_COMPLETION  The guest leaves for an access, which is served; the pause is answered before the
 *                        registers have it.
 *   CANCEL_WITHOUT_NUMBER     A kick aimed at the first piece of work is served after the guest went on to the second,
 *                        and cancels that.
 *   RESET_WITHOUT_NUMBER With RESETS: the thread begins a run when it takes the goal `ready`. It takes that goal, the one
 *                        to run and the one to stop as one batch, in which it finds the last: it has stopped for good
 *                        already, and tells the owner nothing.
 *   CANCEL_BY_EINTR      The same, the thread taking -EINTR for the order to cancel.
 */

#if defined(IMMEDIATE_EXIT) + defined(SIGNAL_MASK) + defined(IP_FIXUP) + defined(SIGNAL_ONLY) != 1
#error "choose one mechanism"
#endif
#ifndef KICKERS
#define KICKERS 2
#endif
#ifndef KICKS
#define KICKS 2
#endif
#ifndef EXITS
#define EXITS 1
#endif
#ifndef PAUSES
#define PAUSES 1
#endif
#ifdef READ_BEFORE_CLEAR /* the last read of the requests stands before the clear */
#define TAKE_SWAPPED
#define NO_STUB_CHECK
#endif
#ifdef SIGNAL_MASK
#define BLOCKED true
#else
#define BLOCKED false
#endif

#ifdef T0
#define MASKED (BLOCKED || !unblocked)
#else
#define MASKED BLOCKED
#endif

#define ASKERS (KICKERS + 1) /* the last one is the owner */
#define OWNER_ID KICKERS

/* Goals [VCPUGoal]. NONE: a kick. */
#define READY 0
#define RUN 1
#define PAUSE 2
#define STOP 3
#define END 4
#define NONE 5

#define AWAKE 255

/* Delivery [RequestWord.Delivery]. */
#define SHARED 0
#define SIGNAL 1
#define WAKE 2

/* ---- what the parties share --------------------------------------------------------------------------------- */

/* The request word. `pending`: its reasons are not 0. */
byte gen;
bit run_bit; /* whether the run's number is odd */
bit pending;
bit outstanding;
#ifdef OWNER
bit parked = 1;
byte goal = READY;
#else
bit parked;
byte goal = RUN;
#endif
#ifdef WORK
byte cancel; /* the latest piece of work to be cancelled: part of what a request carries */
#endif

/* The served word: generation and waiters bit; who sleeps on it. */
byte served;
bit waiters;
bit waiting[ASKERS];
#ifdef BOOLEAN_ACK
bit acknowledged;
#endif

/* The notifier: the served word's notice bit; who is registered, for which generation, and has been called; its futex. */
byte news;
#ifdef NOTIFY
bit notice;
byte registered[ASKERS];
bit called[ASKERS];
#endif
bit owed;   /* a signal that could not be sent: the notifier tries again */
bit failed;
#ifdef SIGNAL_FAILS
byte failures = 2;
#endif

/* The thread's futex, its signal, its flag (kvm_run.immediate_exit), whether it may be signalled [VCPU.thread]. */
bit asleep;
bit signalled;
bit flag;
bit handle = 1;
#ifdef T0
bit unblocked; /* the thread has made its first KVM_RUN, and then unblocked the signal */
#endif
bit ended;
byte done;

/* Where the thread is. */
mtype = { USER, SLEEP, GUEST };
mtype where = USER;
/* Its instruction pointer, as far as the handler looks at it: at the stub's conditional jump, at its `syscall`, at its
 * abort label, or elsewhere. [entry.S: ckvm_entry_window, ckvm_entry_syscall] */
mtype = { ELSEWHERE, JUMP, SYSCALL, ABORT };
mtype rip = ELSEWHERE;
bit finished;   /* the guest has ended by itself: it is not entered again */
bit unfinished; /* a port or memory access that has been served but is not in the registers yet */

/* What the proof observes; nobody acts on it. */
byte acted;   /* the last generation that was taken and acted upon */
byte covered; /* every generation up to this one was published before the thread was last out of the guest */
bit quiet;    /* the owner has been told that the vCPU is paused and has not asked for anything else */
bit joined;
byte stops;   /* how often the owner has been told that the vCPU is parked for good */
#ifdef WORK
byte work = 1;
byte wanted; /* a bit for each piece of work that somebody wanted to cancel */
#endif

#ifdef SEPARATE_WORDS
byte published;            /* the request in memory */
byte buffer[KICKERS];      /* the kickers' store buffers: a request on its way to memory */
bit buffered_clear;        /* the thread's: `outstanding = 0` on its way */
#define PENDING (published > acted)
#else
#define PENDING (pending)
#endif

/* ---- kickers and owner -------------------------------------------------------------------------------------- */

/* Step K1: publish, by compare and exchange [requesting]. `mine` 0: refused, the vCPU has ended. */
inline request(new_goal, aim) {
  d_step {
    if
    :: goal == END -> mine = 0; how = SHARED
    :: else ->
       gen++; mine = gen;
       if
       :: new_goal == READY && goal == STOP -> run_bit = 1 - run_bit; goal = READY
       :: else -> if :: new_goal != NONE && (new_goal > goal || goal < STOP) -> goal = new_goal :: else fi
       fi;
       if
       :: parked -> how = (pending -> SHARED : WAKE)
       :: else -> how = (outstanding -> SHARED : SIGNAL); outstanding = 1
       fi;
#ifdef WORK
       if :: aim > cancel -> cancel = aim :: else fi;
       wanted = wanted | (1 << aim);
#endif
       pending = 1;
       if :: where != GUEST -> covered = gen :: else fi
    fi
  }
}

/* Step K2: deliver. pthread_kill merges a signal that is pending already; futex wakes whoever sleeps. */
inline deliver() {
  if
#ifdef SIGNAL_FAILS
  :: how == SIGNAL && failures > 0 -> d_step { failures--; owed = 1; failed = 1; how = SHARED }
#endif
  :: how == SIGNAL ->
     d_step {
#ifdef FLAG_WITHOUT_SIGNAL
       flag = 1;
#else
       if :: handle -> assert(!joined); signalled = 1 :: else fi;
#endif
       how = SHARED
     }
  :: how == WAKE -> d_step { asleep = 0; how = SHARED }
  :: else
  fi
}

#ifdef SEPARATE_WORDS
/* Two words, plain stores and loads: number the request, store it, look whether a signal is on its way. Both the
 * system call that signals and the read-modify-write before the wait drain the store buffer. */
inline request_in_two_words(me) {
  d_step {
    gen++; mine = gen;
    if :: where != GUEST -> covered = gen :: else fi;
#ifdef DRAINED
    published = gen
#else
    buffer[me] = gen
#endif
  };
  d_step { how = (outstanding -> SHARED : SIGNAL) };
  if :: how == SIGNAL -> outstanding = 1 :: else fi;
  buffer[me] == 0
}
#endif

/* What an answer has to mean. */
inline answer() {
  assert(mine <= acted && mine <= covered)
}

/* Step K3: wait [VCPU.wait], or step N1: register with the notifier [AnswerNotifier.register] and be called. */
inline wait_for_answer(me) {
#ifdef NOTIFY
#ifdef NOTICE_WITHOUT_RMW
  seen = served;
  d_step {
    if :: seen >= mine -> called[me] = 1 :: else -> registered[me] = mine; notice = 1 fi
  };
#else
  d_step {
    seen = served; notice = 1;
    if :: seen >= mine -> called[me] = 1 :: else -> registered[me] = mine fi
  };
#endif
  atomic { called[me] -> called[me] = 0; seen = 0 };
  answer();
#else
#ifdef BOOLEAN_ACK
  if
  :: acknowledged -> answer()
#ifdef GIVE_UP
  :: timeouts > 0 -> timeouts--
#endif
  fi;
#else
  do
  :: served >= mine -> break /* the first look; that it did not find it leads to the other branch, now or later */
  :: d_step { seen = served; waiters = 1 };
     if :: seen >= mine -> break :: else fi;
     d_step { if :: served == seen && waiters -> waiting[me] = 1 :: else fi };
     if
     :: !waiting[me]
#ifdef GIVE_UP
     :: atomic { waiting[me] && timeouts > 0 -> timeouts--; waiting[me] = 0 }; mine = 0; break
#endif
#ifdef RESEND
     :: atomic { waiting[me] && resends > 0 -> resends--; waiting[me] = 0 };
        how = (parked -> WAKE : SIGNAL); deliver()
#endif
     fi
  od;
  seen = 0;
  answer();
#endif
#endif
}

#if defined(NOTIFY) || defined(SIGNAL_FAILS)
/* Steps N2 and N3 [AnswerNotifier.run]: calls whom the vCPU has answered, and sends signals that could not be sent. One
 * vCPU, so a scan is one step: the lock keeps registrations out of it, and it looks at one served word. */
proctype Notifier() {
  byte heard, i;
end:
  do
  :: heard != news || owed ->
#ifdef SIGNAL_FAILS
     d_step { if :: owed -> owed = 0; if :: handle -> assert(!joined); signalled = 1 :: else fi :: else fi };
#endif
#ifdef NOTIFY
#ifndef NEWS_AFTER_SCAN
     heard = news;
#endif
     d_step {
#ifndef SCAN_WITHOUT_MARK
       notice = 1;
#endif
       i = 0;
       do
       :: i < ASKERS ->
          if :: registered[i] && registered[i] <= served -> registered[i] = 0; called[i] = 1 :: else fi;
          i++
       :: else -> i = 0; break
       od;
     };
#ifdef NEWS_AFTER_SCAN
     heard = news
#endif
#endif
  od
}
#endif

#ifdef GIVE_UP
byte timeouts = 1;
#endif
#ifdef RESEND
byte resends = 2;
#endif
#ifdef ENDLESS
bit stays; /* the guest will not leave by itself this time */
bit asked; /* kicker 0 has published and was not answered */
ltl answered { !<>[] asked }
#endif

proctype Kicker(byte me) {
  byte mine, seen, how, left = KICKS, aim;
  do
  :: left > 0 ->
     left--;
#ifdef WORK
     aim = work;
#endif
#ifdef BOOLEAN_ACK
     acknowledged = 0;
#endif
#ifdef SEPARATE_WORDS
     request_in_two_words(me);
#else
     request(NONE, aim);
#endif
     aim = 0;
#ifdef ENDLESS
     if :: me == 0 -> asked = 1 :: else fi;
#endif
     if
     :: mine == 0 -> break
     :: else -> deliver(); wait_for_answer(me); mine = 0
     fi;
#ifdef ENDLESS
     if :: me == 0 -> asked = 0 :: else fi;
#endif
  :: break
  od;
  left = 0;
  done++
}

#ifdef OWNER
proctype Owner() {
  byte mine, seen, how, left = PAUSES;
  bit patient;
  request(RUN, 0); deliver(); wait_for_answer(OWNER_ID);
  do
  :: left > 0 ->
     left--;
     request(PAUSE, 0); deliver(); wait_for_answer(OWNER_ID);
     d_step { assert(where != GUEST && (finished || !unfinished)); quiet = 1 };
     atomic { quiet = 0; request(RUN, 0) };
     deliver(); wait_for_answer(OWNER_ID)
  :: break
  od;
#ifdef STOPS
  /* The owner may stop it, and then no goal but `end` has an effect: asking it to run does not make the guest run. */
  if
  :: request(STOP, 0); deliver(); wait_for_answer(OWNER_ID);
     d_step { assert(where != GUEST && (finished || !unfinished)); quiet = 1 };
     request(RUN, 0); deliver(); wait_for_answer(OWNER_ID)
  :: skip
  fi;
#endif
#ifdef RESETS
  request(STOP, 0); deliver(); wait_for_answer(OWNER_ID);
  d_step { assert(stops == 1 && where != GUEST) };
  request(READY, 0); deliver();
  if :: wait_for_answer(OWNER_ID) :: skip fi;
  request(RUN, 0); deliver();
  if :: wait_for_answer(OWNER_ID) :: skip fi;
  request(STOP, 0); deliver(); wait_for_answer(OWNER_ID);
  d_step { assert(stops == 2 && where != GUEST && (finished || !unfinished)) };
#endif
  left = 0;
  if :: patient = 1 :: skip fi; /* the choice stands, or an impatient owner would rescue kicks that were lost */
  !patient || done == KICKERS;
  /* Join [VCPU.join]: the handle is taken away when the thread has answered, or a kicker that has published and not
   * yet signalled would find nobody to signal. */
  request(END, 0); deliver();
#ifdef JOIN_GIVES_UP
  if :: failed -> skip :: else -> wait_for_answer(OWNER_ID); handle = 0; ended fi;
#else
#ifndef JOIN_BEFORE_ANSWER
  wait_for_answer(OWNER_ID);
#endif
  handle = 0;
  ended;
#endif
  d_step { assert(ended); joined = 1 } /* the guest's memory goes */
}
#endif

/* ---- the thread and its kernel -------------------------------------------------------------------------------- */

/* Step H: the handler, at the thread's present instruction. */
inline handler() {
  signalled = 0;
#if defined(IMMEDIATE_EXIT) && !defined(SIGNAL_WITHOUT_FLAG)
  flag = 1;
#endif
#ifdef IP_FIXUP
#ifdef SHORT_WINDOW /* the `syscall` instruction itself left out */
  if :: rip == JUMP -> rip = ABORT :: else fi;
#else
  if :: rip == JUMP || rip == SYSCALL -> rip = ABORT :: else fi;
#endif
#endif
}

/* Back in user space: the kernel delivers a pending signal before the next instruction. */
inline to_user_space() {
  where = USER;
  if :: signalled && !MASKED -> handler() :: else fi
}

/* Step T1: take the flag away [take]. */
inline clear() {
#ifdef SIGNAL_MASK
  signalled = 0
#else
  flag = 0
#endif
}

#ifdef WORK
inline cancel_work() {
  d_step { assert(wanted >> work & 1); work++ }
}
#endif

/* Step T2: take the requests [take]. */
inline fetch() {
#ifdef SEPARATE_WORDS
#ifdef DRAINED
  outstanding = 0;
#else
  buffered_clear = 1;
#endif
  d_step { taken = published; serving = (taken > acted); goal_taken = RUN }
#else
  d_step {
    serving = pending; taken = gen; goal_taken = goal; run_taken = run_bit;
    pending = 0; outstanding = 0; parked = 0;
#ifdef WORK
    aimed = cancel;
#endif
  }
#endif
}

/* KVM_RUN (T7, T3). `interrupted` 1: -EINTR; 0: an access to be served. Up to the guest it is one step: a signal that
 * arrives on the way stays pending, and is seen as if it had arrived before or in the guest. */
inline kvm_run() {
  /* Completes the access that was served; completing may bring up another part of it. */
  if
  :: unfinished && exits > 0 -> exits--; more = 1
  :: unfinished -> unfinished = 0
  :: else
  fi;
  if
  :: more
  :: !more && flag -> interrupted = 1
  :: !more && !flag && signalled -> interrupted = 1
  :: else ->
     assert(!quiet && !completing); where = GUEST;
#ifdef ENDLESS
     if :: stays = 0 :: stays = 1 fi
#endif
  fi
}

/* The guest, until a signal is pending or it leaves by itself. */
inline guest() {
  if
  :: where == USER
  :: where == GUEST && signalled -> interrupted = 1
#ifdef ENDLESS
  :: where == GUEST && !stays
#else
  :: atomic { where == GUEST && exits > 0 -> exits--; unfinished = 1 }
#endif
#ifndef OWNER
  :: atomic { where == GUEST && done == KICKERS -> finished = 1 }
#endif
  fi;
  d_step { more = 0; covered = gen; to_user_space() }
}

/* Step T6: sleep while nothing is requested [park]. */
inline park(timed) {
  d_step {
#ifdef PARK_WITHOUT_RECHECK
    parked = 1; expected = gen
#else
    if :: pending -> expected = AWAKE :: else -> parked = 1; expected = gen fi
#endif
  };
  do
  :: expected == AWAKE -> break
  :: else ->
#ifdef PARK_WITHOUT_COMPARE
     d_step { asleep = 1; where = SLEEP };
#else
     d_step { if :: gen == expected -> asleep = 1; where = SLEEP :: else fi };
#endif
     if
     :: where == USER
     :: where == SLEEP && !asleep -> d_step { to_user_space() }
     :: where == SLEEP && signalled && !MASKED -> d_step { asleep = 0; to_user_space() }
     :: where == SLEEP && timed && idles > 0 -> d_step { idles--; asleep = 0; expected = AWAKE; to_user_space() }
     fi;
     d_step { if :: pending -> expected = AWAKE :: else fi }
  od
}

proctype VCPU() {
  byte taken, goal_taken, expected, exits = EXITS, idles = 1;
  bit serving, interrupted, completing, more, open, had_waiters, had_notice, own_run, run_taken, parked_for_good;
#ifdef WORK
  byte aimed;
#endif
#ifndef OWNER
  goto enter;
#endif

serve:
#ifdef TAKE_SWAPPED
  fetch(); clear();
#else
  clear(); fetch();
#endif
  if
  :: serving ->
     serving = 0;
     /* Another run [Progress.follow]: the reset has put the registers back. */
     d_step {
       if
#ifdef RESET_WITHOUT_NUMBER
       :: goal_taken == READY ->
#else
       :: run_taken != own_run ->
#endif
          own_run = run_taken; finished = 0; unfinished = 0; open = 0; parked_for_good = 0
       :: else
       fi;
       run_taken = 0
     };
#ifndef PAUSE_WITHOUT_COMPLETION
     /* Step T3: complete the access [completeAccess], by KVM_RUN with the flag set or the signal pending. */
     if
     :: goal_taken >= PAUSE && open && !finished ->
        d_step { completing = 1; interrupted = 0 };
        do
        :: !interrupted ->
#ifdef SIGNAL_MASK
           signalled = 1;
#else
           flag = 1;
#endif
           atomic { kvm_run(); to_user_space() };
           more = 0
        :: else -> break
        od;
        atomic {
          interrupted = 0; completing = 0; open = 0;
#ifdef SIGNAL_MASK
          signalled = 0; /* with it goes a kick's signal: the word is looked at again before the guest is entered */
#endif
        }
     :: else
     fi;
#endif
     /* Step T4: the owner is told, once a run [act]. */
     d_step {
       if :: goal_taken >= STOP && !parked_for_good -> parked_for_good = 1; stops++ :: else fi
     };
#ifdef WORK
     /* Work carries its number; what is asked for something earlier comes too late. */
#if defined(CANCEL_WITHOUT_NUMBER)
     cancel_work();
#elif !defined(CANCEL_BY_EINTR)
     if :: aimed == work -> cancel_work() :: else fi;
#endif
     aimed = 0;
#endif
     /* Step T5: publish what was served, and wake who waits [publish]. */
#ifdef WAKE_WITHOUT_RMW
     had_waiters = waiters;
     d_step { assert(taken <= covered); acted = taken; served = taken; waiters = 0 };
#else
     d_step { assert(taken <= covered); acted = taken; served = taken; had_waiters = waiters; waiters = 0;
#ifdef NOTIFY
      had_notice = notice; notice = 0
#endif
    };
#ifdef NOTIFY
     if :: had_notice -> d_step { had_notice = 0; news++ } :: else fi;
#endif
#endif
#ifdef BOOLEAN_ACK
     acknowledged = 1;
#endif
     if
     :: had_waiters ->
        d_step {
          had_waiters = 0;
          waiting[0] = 0; waiting[1] = 0;
#if ASKERS > 2
          waiting[2] = 0;
#endif
#if ASKERS > 3
          waiting[3] = 0;
#endif
        }
     :: else
     fi
  :: else
  fi;
#ifdef CANCEL_BY_EINTR
  if :: interrupted -> cancel_work() :: else fi;
#endif
  d_step { interrupted = 0; taken = 0 };
  if
  :: goal_taken == END -> goto leave
  :: goal_taken == RUN && !finished -> goal_taken = 0; goto enter
  :: else -> goal_taken = 0; park(false); goto serve
  fi;

enter:
#ifdef T0
  /* Before the first T7: KVM_RUN with the flag set, which returns at once, and only then is the signal unblocked. */
  if
  :: !unblocked -> flag = 1; flag = 0; unblocked = 1
  :: else
  fi;
#endif
  /* Step T7. The stub: `cmpb`; then, in the window, `jne` and `syscall` [entry.S]. Only ip_fixup looks where it is. */
  atomic {
#ifndef NO_STUB_CHECK
    serving = PENDING;
#endif
    rip = JUMP
  };
#ifdef IP_FIXUP
  d_step { if :: rip == JUMP && !serving -> rip = SYSCALL :: else -> rip = ABORT fi; serving = 0 };
  atomic { if :: rip == SYSCALL -> rip = ELSEWHERE; kvm_run() :: else -> rip = ELSEWHERE; goto serve fi };
#else
  atomic { rip = ELSEWHERE; if :: !serving -> kvm_run() :: else -> serving = 0; goto serve fi };
#endif
  guest();
  open = !interrupted;
  if
  :: interrupted -> goto serve
#ifndef OWNER
  :: finished -> goto leave
#endif
  :: !interrupted && !finished ->
#ifdef WORK
     work++; /* the guest has finished one piece of work and goes on with the next */
#endif
     /* An access, served [serveAccess]. */
     if
     :: goto enter
#ifdef OWNER
     :: idles > 0 -> park(true); goto serve
     :: finished = 1; goto serve
#endif
     fi
  fi;

leave:
  ended = 1
}

/* The handler, wherever the thread is in user space. */
#ifndef SIGNAL_MASK
proctype Handler() {
end:
  do
  :: d_step { signalled && where == USER && !ended && !MASKED -> handler() }
  od
}
#endif

#if defined(SEPARATE_WORDS) && !defined(DRAINED)
proctype StoreBuffers() {
end:
  do
  :: d_step { buffer[0] > 0 -> published = (buffer[0] > published -> buffer[0] : published); buffer[0] = 0 }
  :: d_step { buffer[1] > 0 -> published = (buffer[1] > published -> buffer[1] : published); buffer[1] = 0 }
  :: d_step { buffered_clear -> outstanding = 0; buffered_clear = 0 }
  od
}
#endif

init {
  byte i;
  atomic {
    run VCPU();
#ifndef SIGNAL_MASK
    run Handler();
#endif
#if defined(SEPARATE_WORDS) && !defined(DRAINED)
    run StoreBuffers();
#endif
#ifdef OWNER
    run Owner();
#endif
#if defined(NOTIFY) || defined(SIGNAL_FAILS)
    run Notifier();
#endif
    do :: i < KICKERS -> run Kicker(i); i++ :: else -> break od;
    i = 0
  }
}
