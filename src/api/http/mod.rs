//! Requests and answers as HTTP: what a query or a JSON body says, and how an answer is built and sent.
//!
//! In: a query, header values, the bytes of a body, catalog entries. Out: parsed values, and a [`Response`](::http::Response) with a
//! [`Body`](body::Body). Nothing here depends on routes or callers. Read the files in this order:
//!
//! 1. [`envelope`]: the form of every answer, and the error codes; [`write_error`] maps the registrar's errors to them.
//! 2. Requests: [`query`] and [`selection`], [`json`] and [`object_shape`], [`page_cursor`].
//! 3. Answers: [`reply`] puts rendered services into the envelope, from [`segments`]; [`etag`] answers conditional requests.
//! 4. [`body`] is what a connection sends, and [`in_flight`] bounds the memory that large bodies take; [`rendering`] bounds the threads that
//!    make some of them.

pub(super) mod body;
pub(super) mod envelope;
pub(super) mod etag;
pub(super) mod in_flight;
pub(super) mod json;
pub(super) mod object_shape;
pub(super) mod page_cursor;
pub(super) mod query;
pub(super) mod rendering;
pub(super) mod reply;
pub(super) mod segments;
pub(super) mod selection;
pub(super) mod write_error;
