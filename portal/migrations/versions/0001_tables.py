"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("course_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.String(length=64), nullable=True),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_actor_id_id"), "audit_log", ["actor_id", "id"], unique=False)
    op.create_index(op.f("ix_audit_log_course_id_id"), "audit_log", ["course_id", "id"], unique=False)
    op.create_table(
        "catalogue_images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("reference", sa.String(length=500), nullable=False),
        sa.Column("default_url", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("is_offered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalogue_images")),
        sa.UniqueConstraint("reference", name=op.f("uq_catalogue_images_reference")),
    )
    op.create_table(
        "holidays",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_holidays")),
    )
    op.create_table(
        "rate_limits",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "key", name=op.f("pk_rate_limits")),
    )
    op.create_index(op.f("ix_rate_limits_ends_at"), "rate_limits", ["ends_at"], unique=False)
    op.create_table(
        "site_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("clock_offset_seconds", sa.BigInteger(), nullable=False),
        sa.Column("settings_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_state")),
    )
    op.create_table(
        "targets",
        sa.Column("name", sa.String(length=31), nullable=False),
        sa.Column("target", postgresql.JSONB(), nullable=False),
        sa.Column("memory_mib", sa.BigInteger(), nullable=False),
        sa.Column("cpu_millicores", sa.BigInteger(), nullable=False),
        sa.Column("storage_mib", sa.BigInteger(), nullable=False),
        sa.Column("gpus", postgresql.JSONB(), nullable=False),
        sa.Column("parallel_operations", sa.Integer(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("defaults", postgresql.JSONB(), nullable=False),
        sa.Column("inventory", postgresql.JSONB(), nullable=True),
        sa.Column("inventory_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_targets")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("login", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("locale", sa.String(length=10), nullable=True),
        sa.Column("may_request", sa.Boolean(), nullable=False),
        sa.Column("is_governance", sa.Boolean(), nullable=False),
        sa.Column("roles_checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_users_issuer_subject")),
    )
    op.create_table(
        "courses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("target_name", sa.String(length=31), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("status_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=100), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("agreed_last_day", sa.Date(), nullable=True),
        sa.Column("approved_revision", sa.Integer(), nullable=False),
        sa.Column("applied_revision", sa.Integer(), nullable=True),
        sa.Column("checked_revision", sa.Integer(), nullable=True),
        sa.Column("requested_by_id", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by_id", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ended_early_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("join_policy", sa.String(length=64), nullable=False),
        sa.Column("join_code_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("join_code", sa.LargeBinary(), nullable=True),
        sa.Column("people_revision", sa.Integer(), nullable=False),
        sa.Column("people_applied", sa.Integer(), nullable=False),
        sa.Column("people_access", sa.String(length=64), nullable=False),
        sa.Column("people_not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("people_tries", sa.Integer(), nullable=False),
        sa.Column("people_failure", sa.Text(), nullable=False),
        sa.Column("hub_url", sa.String(length=300), nullable=True),
        sa.Column("api_url", sa.String(length=300), nullable=True),
        sa.Column("api_token", sa.LargeBinary(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closing", sa.Integer(), nullable=False),
        sa.Column("closing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waived_by_id", sa.Uuid(), nullable=True),
        sa.Column("waived_closing", sa.Integer(), nullable=True),
        sa.Column("stack_gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archive_ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("drift", postgresql.JSONB(), nullable=True),
        sa.Column("drift_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("first_day <= last_day", name=op.f("ck_courses_period")),
        sa.ForeignKeyConstraint(["decided_by_id"], ["users.id"], name=op.f("fk_courses_decided_by_id_users")),
        sa.ForeignKeyConstraint(["requested_by_id"], ["users.id"], name=op.f("fk_courses_requested_by_id_users")),
        sa.ForeignKeyConstraint(["target_name"], ["targets.name"], name=op.f("fk_courses_target_name_targets")),
        sa.ForeignKeyConstraint(["waived_by_id"], ["users.id"], name=op.f("fk_courses_waived_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_courses")),
        sa.UniqueConstraint("join_code_hash", name=op.f("uq_courses_join_code_hash")),
    )
    op.create_index(
        "ix_courses_due", "courses", ["next_due_at"], unique=False, postgresql_where=sa.text("next_due_at IS NOT NULL")
    )
    op.create_index(
        "ix_courses_let_in",
        "courses",
        ["people_access"],
        unique=False,
        postgresql_where=sa.text("people_access <> 'nobody'"),
    )
    op.create_index(op.f("ix_courses_slug"), "courses", ["slug"], unique=False)
    op.create_index(op.f("ix_courses_requested_at_id"), "courses", ["requested_at", "id"], unique=False)
    op.create_index(op.f("ix_courses_status_first_day"), "courses", ["status", "first_day"], unique=False)
    op.create_index("ix_courses_target_period", "courses", ["target_name", "first_day", "last_day"], unique=False)
    op.create_index(
        "uq_courses_slug_in_use",
        "courses",
        ["slug"],
        unique=True,
        postgresql_where=sa.text("status NOT IN ('archived', 'expired', 'purged', 'rejected', 'withdrawn')"),
    )
    op.create_table(
        "web_sessions",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provider_session", sa.String(length=200), nullable=True),
        sa.Column("refresh_token", sa.LargeBinary(), nullable=True),
        sa.Column("id_token", sa.LargeBinary(), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("browser", sa.String(length=300), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_web_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_web_sessions")),
        sa.UniqueConstraint("id", name=op.f("uq_web_sessions_id")),
    )
    op.create_index(op.f("ix_web_sessions_expires_at"), "web_sessions", ["expires_at"], unique=False)
    op.create_index(op.f("ix_web_sessions_user_id"), "web_sessions", ["user_id"], unique=False)
    op.create_table(
        "archives",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.Column("closing", sa.Integer(), nullable=False),
        sa.Column("home", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=True),
        sa.Column("subject", sa.String(length=128), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bucket", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.Integer(), nullable=True),
        sa.Column("skipped", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("failure_kind", sa.String(length=64), nullable=False),
        sa.CheckConstraint("status IN ('running', 'verified', 'failed')", name=op.f("ck_archives_status")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_archives_course_id_courses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archives")),
        sa.UniqueConstraint(
            "course_id", "closing", "home", "number", name=op.f("uq_archives_course_id_closing_home_number")
        ),
    )
    op.create_index("ix_archives_person", "archives", ["issuer", "subject"], unique=False)
    op.create_table(
        "change_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.Column("base_revision", sa.Integer(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("requested_by_id", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by_id", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'approved', 'rejected', 'withdrawn', 'void')", name=op.f("ck_change_requests_status")
        ),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_change_requests_course_id_courses")),
        sa.ForeignKeyConstraint(["decided_by_id"], ["users.id"], name=op.f("fk_change_requests_decided_by_id_users")),
        sa.ForeignKeyConstraint(
            ["requested_by_id"], ["users.id"], name=op.f("fk_change_requests_requested_by_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_requests")),
    )
    op.create_index(op.f("ix_change_requests_course_id"), "change_requests", ["course_id"], unique=False)
    op.create_index(
        "uq_change_requests_open",
        "change_requests",
        ["course_id"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "course_leads",
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["added_by_id"], ["users.id"], name=op.f("fk_course_leads_added_by_id_users")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_course_leads_course_id_courses")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_course_leads_user_id_users")),
        sa.PrimaryKeyConstraint("course_id", "user_id", name=op.f("pk_course_leads")),
    )
    op.create_index(op.f("ix_course_leads_user_id"), "course_leads", ["user_id"], unique=False)
    op.create_table(
        "course_revisions",
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("spec", postgresql.JSONB(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["users.id"], name=op.f("fk_course_revisions_author_id_users")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_course_revisions_course_id_courses")),
        sa.PrimaryKeyConstraint("course_id", "number", name=op.f("pk_course_revisions")),
    )
    op.create_table(
        "homes",
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.Column("home", sa.String(length=200), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=True),
        sa.Column("subject", sa.String(length=128), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("server_stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_homes_course_id_courses")),
        sa.PrimaryKeyConstraint("course_id", "home", name=op.f("pk_homes")),
        sa.UniqueConstraint("course_id", "issuer", "subject", name=op.f("uq_homes_course_id_issuer_subject")),
    )
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("event_key", sa.String(length=300), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("course_id", sa.Uuid(), nullable=True),
        sa.Column("locale", sa.String(length=10), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_mails_course_id_courses")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_mails_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
    )
    op.create_index(op.f("ix_mails_course_id"), "mails", ["course_id"], unique=False)
    op.create_index(op.f("ix_mails_created_at"), "mails", ["created_at"], unique=False)
    op.create_index(
        "ix_mails_unsent",
        "mails",
        ["not_before"],
        unique=False,
        postgresql_where="sent_at IS NULL AND given_up_at IS NULL",
    )
    op.create_index("uq_mails_event_recipient", "mails", ["event_key", "recipient"], unique=True)
    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("closing", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("max_tries", sa.Integer(), nullable=False),
        sa.Column("cancel_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("failure_kind", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "kind IN ('deploy', 'update', 'check', 'close', 'archive', 'destroy', 'refresh', 'purge')",
            name=op.f("ck_operations_kind"),
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'succeeded', 'failed', 'superseded', 'cancelled')",
            name=op.f("ck_operations_status"),
        ),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_operations_course_id_courses")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_operations_created_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.UniqueConstraint("number", name=op.f("uq_operations_number")),
    )
    op.create_index(op.f("ix_operations_course_id_created_at"), "operations", ["course_id", "created_at"], unique=False)
    op.create_index(
        "ix_operations_waiting",
        "operations",
        ["not_before"],
        unique=False,
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "uq_operations_live",
        "operations",
        ["course_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('waiting', 'running')"),
    )
    op.create_table(
        "participations",
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("code_is_dead", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by_id", sa.Uuid(), nullable=True),
        sa.Column("access_ended", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "status IN ('waiting', 'accepted', 'rejected', 'removed', 'left')", name=op.f("ck_participations_status")
        ),
        sa.ForeignKeyConstraint(["changed_by_id"], ["users.id"], name=op.f("fk_participations_changed_by_id_users")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_participations_course_id_courses")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_participations_user_id_users")),
        sa.PrimaryKeyConstraint("course_id", "user_id", name=op.f("pk_participations")),
    )
    op.create_index(op.f("ix_participations_course_id_status"), "participations", ["course_id", "status"], unique=False)
    op.create_index(
        "ix_participations_former",
        "participations",
        ["course_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('removed', 'left')"),
    )
    op.create_index(op.f("ix_participations_user_id"), "participations", ["user_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", sa.String(length=20), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("failure_kind", sa.String(length=64), nullable=False),
        sa.Column("details", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint("result IN ('succeeded', 'failed', 'lost', 'cancelled')", name=op.f("ck_attempts_result")),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_attempts_operation_id_operations")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("operation_id", "number", name=op.f("uq_attempts_operation_id_number")),
    )
    op.create_index(
        "ix_attempts_lease", "attempts", ["lease_until"], unique=False, postgresql_where=sa.text("result IS NULL")
    )
    op.create_index(
        "uq_attempts_live", "attempts", ["operation_id"], unique=True, postgresql_where=sa.text("result IS NULL")
    )
    op.create_table(
        "attempt_events",
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_attempt_events_attempt_id_attempts")),
        sa.PrimaryKeyConstraint("attempt_id", "n", name=op.f("pk_attempt_events")),
    )


def downgrade() -> None:
    op.drop_table("attempt_events")
    op.drop_index("uq_attempts_live", table_name="attempts", postgresql_where=sa.text("result IS NULL"))
    op.drop_index("ix_attempts_lease", table_name="attempts", postgresql_where=sa.text("result IS NULL"))
    op.drop_table("attempts")
    op.drop_index(op.f("ix_participations_user_id"), table_name="participations")
    op.drop_index(
        "ix_participations_former",
        table_name="participations",
        postgresql_where=sa.text("status IN ('removed', 'left')"),
    )
    op.drop_index(op.f("ix_participations_course_id_status"), table_name="participations")
    op.drop_table("participations")
    op.drop_index(
        "uq_operations_live", table_name="operations", postgresql_where=sa.text("status IN ('waiting', 'running')")
    )
    op.drop_index("ix_operations_waiting", table_name="operations", postgresql_where=sa.text("status = 'waiting'"))
    op.drop_index(op.f("ix_operations_course_id_created_at"), table_name="operations")
    op.drop_table("operations")
    op.drop_index("uq_mails_event_recipient", table_name="mails")
    op.drop_index("ix_mails_unsent", table_name="mails", postgresql_where="sent_at IS NULL AND given_up_at IS NULL")
    op.drop_index(op.f("ix_mails_created_at"), table_name="mails")
    op.drop_index(op.f("ix_mails_course_id"), table_name="mails")
    op.drop_table("mails")
    op.drop_table("homes")
    op.drop_table("course_revisions")
    op.drop_index(op.f("ix_course_leads_user_id"), table_name="course_leads")
    op.drop_table("course_leads")
    op.drop_index("uq_change_requests_open", table_name="change_requests", postgresql_where=sa.text("status = 'open'"))
    op.drop_index(op.f("ix_change_requests_course_id"), table_name="change_requests")
    op.drop_table("change_requests")
    op.drop_index("ix_archives_person", table_name="archives")
    op.drop_table("archives")
    op.drop_index(op.f("ix_web_sessions_user_id"), table_name="web_sessions")
    op.drop_index(op.f("ix_web_sessions_expires_at"), table_name="web_sessions")
    op.drop_table("web_sessions")
    op.drop_index(
        "uq_courses_slug_in_use",
        table_name="courses",
        postgresql_where=sa.text("status NOT IN ('archived', 'expired', 'purged', 'rejected', 'withdrawn')"),
    )
    op.drop_index("ix_courses_target_period", table_name="courses")
    op.drop_index(op.f("ix_courses_status_first_day"), table_name="courses")
    op.drop_index(op.f("ix_courses_slug"), table_name="courses")
    op.drop_index("ix_courses_let_in", table_name="courses")
    op.drop_index("ix_courses_due", table_name="courses", postgresql_where=sa.text("next_due_at IS NOT NULL"))
    op.drop_table("courses")
    op.drop_table("users")
    op.drop_table("targets")
    op.drop_table("site_state")
    op.drop_index(op.f("ix_rate_limits_ends_at"), table_name="rate_limits")
    op.drop_table("rate_limits")
    op.drop_table("holidays")
    op.drop_table("catalogue_images")
    op.drop_index(op.f("ix_audit_log_course_id_id"), table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_actor_id_id"), table_name="audit_log")
    op.drop_table("audit_log")
