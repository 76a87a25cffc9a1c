//! Sums over the tables and tasks of a job.

/// Sums over the tables and tasks of a job.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Counts {
    #[prost(int32, tag = "1")]
    pub tables_total: i32,
    #[prost(int32, tag = "2")]
    pub tables_planned: i32,
    #[prost(int32, tag = "3")]
    pub tables_blocked: i32,
    #[prost(int32, tag = "4")]
    pub tables_skipped: i32,
    #[prost(int32, tag = "5")]
    pub tables_done: i32,
    #[prost(int32, tag = "6")]
    pub tasks_total: i32,
    #[prost(int32, tag = "7")]
    pub tasks_running: i32,
    #[prost(int32, tag = "8")]
    pub tasks_done: i32,
    #[prost(int32, tag = "9")]
    pub tasks_failed: i32,
    #[prost(int64, tag = "10")]
    pub rows_total: i64,
    #[prost(int64, tag = "11")]
    pub rows_done: i64,
    #[prost(int64, tag = "12")]
    pub bytes_total: i64,
    #[prost(int64, tag = "13")]
    pub bytes_done: i64,
    /// Tasks that have done everything but the LOOK step.
    #[prost(int32, tag = "14")]
    pub tasks_at_look: i32,
    /// Tables with at least one failed task.
    #[prost(int32, tag = "15")]
    pub tables_failed: i32,
}

impl Counts {
    /// Whether every table is planned.
    pub fn all_planned(&self) -> bool {
        self.tables_planned >= self.tables_total
    }

    /// Whether every task has ended.
    pub fn all_ended(&self) -> bool {
        self.tasks_done + self.tasks_failed >= self.tasks_total
    }

    /// Whether only LOOK steps are left.
    pub fn all_but_looks(&self) -> bool {
        self.all_planned() && self.tasks_done + self.tasks_failed + self.tasks_at_look >= self.tasks_total
    }
}

impl std::ops::Neg for Counts {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            tables_total: -self.tables_total,
            tables_planned: -self.tables_planned,
            tables_blocked: -self.tables_blocked,
            tables_skipped: -self.tables_skipped,
            tables_done: -self.tables_done,
            tasks_total: -self.tasks_total,
            tasks_running: -self.tasks_running,
            tasks_done: -self.tasks_done,
            tasks_failed: -self.tasks_failed,
            rows_total: -self.rows_total,
            rows_done: -self.rows_done,
            bytes_total: -self.bytes_total,
            bytes_done: -self.bytes_done,
            tasks_at_look: -self.tasks_at_look,
            tables_failed: -self.tables_failed,
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.tables_total += other.tables_total;
        self.tables_planned += other.tables_planned;
        self.tables_blocked += other.tables_blocked;
        self.tables_skipped += other.tables_skipped;
        self.tables_done += other.tables_done;
        self.tasks_total += other.tasks_total;
        self.tasks_running += other.tasks_running;
        self.tasks_done += other.tasks_done;
        self.tasks_failed += other.tasks_failed;
        self.rows_total += other.rows_total;
        self.rows_done += other.rows_done;
        self.bytes_total += other.bytes_total;
        self.bytes_done += other.bytes_done;
        self.tasks_at_look += other.tasks_at_look;
        self.tables_failed += other.tables_failed;
    }
}
