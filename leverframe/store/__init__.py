"""The store: where runs live. One code for SQLite (embedded, the default) and PostgreSQL; the only package that knows SQL.

Tables
------
    definitions   a machine as data, once per hash; a run keeps its hash for life
    runs          what a run's log folds to (status, state, memory, execution, seq, head_hash), and beside it who holds it
                  (fence, lease_owner, lease_until), when it is looked at (wake_at), what others want of it (want, inbox)
    events        the log: append only, (run, seq), each row hash-chained to the one before
    effects       what runs do to the world, by idempotency key; arguments never change
    human_tasks   what people are asked, and the one decision about it
    inbound       what reached a run from outside, once per (source, key): signals, decisions, ends of children
    schedules     what starts runs by the clock
    spending      what machines with daily limits used up, by day, reservations included
    prompt_pins   which variant of a prompt new runs are told, and who said so; append only

Transaction rule
----------------
① Lock the run's row ② check the guard ③ append events ④ update the row; all of it, or nothing, in one short transaction. The
guard of a worker is the fence of its claim and the end of the log it built on (else `Lost`); that of a person is the task's
status (else `AlreadyDecided`, `TaskGone`). A step, its effects, the task it opens, the children it starts and the status
`waiting` are one transaction; a decision and the wake-up of its run are one transaction. No transaction spans a call outside.

Who writes what
---------------
Only the holder of a run's lease appends events and changes what they fold to: `claim`, `commit`, `release`. Everybody else
leaves word and a wake-up: `decide` and `signal` in `inbound`, `want` on the row, a child's end in its parent's inbox. The holder
finds it with its next commit, or the next claim does. A run that is released while anything waits for it is due at once, so no
wake-up is lost; a held run is always due, so a dead holder's run is found. A waiting run is in no index that a worker reads.

All writes of a process go through one thread, the committer, which writes what is queued as one transaction. SQLite's single
writer is then never fought over inside a process, and 200 runs share an fsync. Reading never waits for writing.

    database     connect, the schema, errors        tables       what is stored
    committer    the thread, group commit           records      what goes in and out, as plain data
    batch        one transaction: steps, starts     pack         a run as columns and back
    commands     claim, decide, signal, want …      statements   the texts of the writing side
    figures      what the log says of prompts
    queries      the reading side                   owner        who holds a lease, and is it alive
    boundary     where tests stop the process       migrations   Alembic's
    purse        the days' budgets in a batch
"""

from leverframe.store.database import SCHEMA as SCHEMA
from leverframe.store.database import upgrade as upgrade
from leverframe.store.figures import PromptFigures as PromptFigures
from leverframe.store.owner import is_dead as is_dead
from leverframe.store.owner import me as me
from leverframe.store.records import Claimed as Claimed
from leverframe.store.records import Commit as Commit
from leverframe.store.records import Committed as Committed
from leverframe.store.records import Decided as Decided
from leverframe.store.records import Deferred as Deferred
from leverframe.store.records import Effect as Effect
from leverframe.store.records import EffectChange as EffectChange
from leverframe.store.records import EffectClass as EffectClass
from leverframe.store.records import Inbound as Inbound
from leverframe.store.records import NewRun as NewRun
from leverframe.store.records import Pin as Pin
from leverframe.store.records import Row as Row
from leverframe.store.records import Spend as Spend
from leverframe.store.records import Spending as Spending
from leverframe.store.records import Started as Started
from leverframe.store.records import Task as Task
from leverframe.store.records import TaskKind as TaskKind
from leverframe.store.records import TaskStatus as TaskStatus
from leverframe.store.records import Want as Want
from leverframe.store.store import Store as Store
