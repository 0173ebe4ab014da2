//! Fetches: requests to the origin, and what becomes of the responses.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | what a fetch is for, and the request that it sends |
//! | `claim` | the right to fetch: this request leads, or follows another one |
//! | `carried_fetch` | a fetch without a task of its own |
//! | `fetch_and_store` | a fetch for the cache: for the client whose request leads it, or in the background |
//! | `leader` | the leader of a fetch: it judges the response, stores it, delivers it |
//! | `follower` | a request that waits for another request's fetch |
//! | `from_disk` | what the disk has for a request that memory has nothing for |
//! | `from_shared` | what the shared tier has, and which instance fetches |
//! | `revalidate` | the response to the validation of a stored response |
//! | `combine_ranges` | the response that continues a stored part |
//! | `rest_of_body` | the rest of a body for a client that fell behind the fetch which it shared |
//! | `recording` | what is not stored, kept for the time without an origin |
//! | `pass_through` | requests whose response is not stored |
//! | `invalidate` | what an unsafe request invalidates |
//! | `fetched_response` | a response of the origin, ready to be judged |
//! | `failover` | which of several origins gets a request |
//! | `repeatable_body` | the body of a request that may go to several origins |
//! | `interim` | interim (1xx) responses |

pub(super) mod carried_fetch;
pub(super) mod claim;
pub(super) mod combine_ranges;
pub(super) mod failover;
pub(super) mod fetch_and_store;
pub(super) mod fetched_response;
pub(super) mod follower;
pub(super) mod from_disk;
pub(super) mod from_shared;
pub(super) mod interim;
pub(super) mod invalidate;
pub(super) mod leader;
pub(super) mod pass_through;
pub(super) mod plan;
pub(super) mod recording;
pub(super) mod repeatable_body;
pub(super) mod rest_of_body;
pub(super) mod revalidate;
