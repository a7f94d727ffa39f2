//! Handlers of `admin/*`: they start jobs (checkpoint, compaction, snapshot, verify) and list jobs and statistics.
//! Called by the routes of `v2`; `workers::jobs` runs the jobs.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use nearfield_engine::{Error, ErrorKind};
use nearfield_segment::shown;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::{self, ApiError, Call, Result, request};
use crate::workers::{self, JobId, JobKind, JobState};

/// Jobs listed.
const JOBS_MAX: usize = 100;

request! {
    /// What a job is for
    pub(super) struct JobOf {
        /// All if left out
        collection: String,
    }
}

/// A job
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Job {
    job_id: String,
    kind: JobKind,
    /// All if null
    collection: Option<String>,
    state: JobState,
    /// What came out, or message if it failed
    #[schema(value_type = Map<String, Value>)]
    details: Value,
    /// Milliseconds since 1970
    started_ms: u64,
    finished_ms: Option<u64>,
}

impl From<workers::Job> for Job {
    fn from(job: workers::Job) -> Job {
        let workers::Job { id, kind, collection, state, details, started_ms, finished_ms } = job;
        let job_id = id.to_string();
        Job { job_id, kind, collection, state, details, started_ms, finished_ms }
    }
}

/// Jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
}

/// Answers `POST admin/checkpoint` and the like.
pub(super) async fn run(mut call: Call, kind: JobKind) -> Result<Response<Body>> {
    let JobOf { collection } = call.request().await?;
    let wait = call.wait()?.unwrap_or(true);
    let job = call.store()?.run_job(kind, collection.as_deref(), wait).await?;
    let status = match job.state {
        JobState::Completed | JobState::Idle => StatusCode::OK,
        JobState::Running => StatusCode::ACCEPTED,
        JobState::Cancelled => return Err(cancelled(&job)),
        JobState::Failed | JobState::Interrupted => return Err(failed(&job)),
    };
    Ok(http::data(status, Job::from(job)))
}

fn cancelled(job: &workers::Job) -> ApiError {
    let message = format!("the {} was stopped", job.kind.name());
    let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "cancelled", message);
    error.with("job_id", job.id.to_string())
}

/// `checkpoint_failed` and so on, with what is known about it.
fn failed(job: &workers::Job) -> ApiError {
    let said = job.details["message"].as_str().unwrap_or("it was interrupted");
    let (status, code) = (StatusCode::INTERNAL_SERVER_ERROR, format!("{}_failed", job.kind.name()));
    let error = ApiError::new(status, &code, said).with("job_id", job.id.to_string());
    let details = job.details.as_object().into_iter().flatten();
    details.fold(error, |error, (name, value)| error.with(name, value.clone()))
}

/// Answers `GET admin/stats`.
pub(super) async fn stats(call: Call) -> Result<Response<Body>> {
    Ok(http::ok(call.store()?.stats()))
}

/// Answers `GET admin/jobs`.
pub(super) async fn jobs(call: Call) -> Result<Response<Body>> {
    let jobs = call.store()?.jobs().newest(JOBS_MAX)?.into_iter().map(Job::from).collect();
    Ok(http::ok(Jobs { jobs }))
}

/// Answers `GET admin/jobs/{id}`.
pub(super) async fn job(call: Call) -> Result<Response<Body>> {
    let (store, id) = (call.store()?, job_id(&call)?);
    let job = store.jobs().job(id)?.ok_or_else(|| unknown(&call))?;
    Ok(http::ok(Job::from(job)))
}

/// Answers `DELETE admin/jobs/{id}`. A job that has ended stays as it is.
pub(super) async fn cancel(call: Call) -> Result<Response<Body>> {
    let (store, id) = (call.store()?, job_id(&call)?);
    let job = store.jobs().cancel(id)?.ok_or_else(|| unknown(&call))?;
    let still = job.state == JobState::Running;
    let status = if still { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(http::data(status, Job::from(job)))
}

fn job_id(call: &Call) -> Result<JobId> {
    call.id.as_deref().and_then(JobId::parse).ok_or_else(|| unknown(call).into())
}

fn unknown(call: &Call) -> Error {
    let id = call.id.as_deref().unwrap_or_default();
    Error::new(ErrorKind::NotFound, format!("there is no job {:?}", shown(id)))
}
