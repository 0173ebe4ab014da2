//! The routes of `export` and `import`, whose contents are sent in pieces.

use std::{convert::Infallible, pin::pin};

use actix_web::{
    HttpRequest, HttpResponse,
    error::PayloadError,
    http::header::CONTENT_LENGTH,
    rt,
    web::{Bytes, BytesMut, Data, Json, Payload},
};
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::ControlError;
use crate::{
    admin::{self, AdminError, ImportOutcome},
    clock,
    proxy::Shared,
};

/// How many pieces of an export wait until they are sent.
const WAITING_PIECES: usize = 4;
/// The longest description of a response, in bytes: its headers, and the body of a POST.
const MAX_DESCRIPTION_BYTES: usize = 16 * 1024 * 1024;
/// The bytes before the description, which are its length.
const LENGTH_BYTES: usize = 4;

/// Streams an export, as frames.
pub(super) async fn export(body: Bytes, shared: Data<Shared>) -> Result<HttpResponse, AdminError> {
    let export = admin::export(&shared, &serde_json::from_slice(&body)?)?;
    let (sender, receiver) = mpsc::channel(WAITING_PIECES);
    rt::spawn(async move { export.run(&shared, &sender, clock::now()).await });
    let frames = stream::unfold(receiver, |mut receiver| async {
        let frame = receiver.recv().await?;
        Some((Ok::<_, Infallible>(frame), receiver))
    });
    Ok(HttpResponse::Ok().streaming(frames))
}

/// Stores one response: the length of its description in four bytes, the description, the body.
pub(super) async fn import(
    request: HttpRequest,
    mut payload: Payload,
    shared: Data<Shared>,
) -> Result<Json<ImportOutcome>, AdminError> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let length = length.ok_or(AdminError::ImportFrame)?;
    let mut read = BytesMut::new();
    let described = fill(&mut read, &mut payload, LENGTH_BYTES).await?;
    let described: [u8; LENGTH_BYTES] = described
        .as_ref()
        .try_into()
        .map_err(|_| AdminError::ImportFrame)?;
    let described = usize::try_from(u32::from_be_bytes(described));
    let described = described.map_err(|_| AdminError::ImportFrame)?;
    let before = LENGTH_BYTES as u64 + described as u64;
    if described > MAX_DESCRIPTION_BYTES || before > length {
        return Err(AdminError::ImportFrame);
    }
    let description = fill(&mut read, &mut payload, described).await?;
    let description = serde_json::from_slice(&description)?;
    let mut body = pin!(rest(read.freeze(), payload));
    let stored = (body.as_mut(), length - before);
    let outcome = admin::import(&shared, description, stored, clock::now()).await;
    // The other side sends all of the body before it reads the response.
    while body.next().await.is_some() {}
    Ok(Json(outcome?))
}

/// The next `count` bytes of a request, of which `read` has arrived.
async fn fill(
    read: &mut BytesMut,
    payload: &mut Payload,
    count: usize,
) -> Result<Bytes, AdminError> {
    while read.len() < count {
        match payload.next().await {
            Some(Ok(bytes)) => read.extend_from_slice(&bytes),
            Some(Err(_)) | None => return Err(AdminError::ImportFrame),
        }
    }
    Ok(read.split_to(count).freeze())
}

/// What follows in a request, of which `read` has arrived.
fn rest(read: Bytes, payload: Payload) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    let read = stream::iter((!read.is_empty()).then_some(Ok(read)));
    read.chain(payload)
}

/// The bytes before the description of an import.
pub(super) fn import_length(description: &[u8]) -> Result<[u8; LENGTH_BYTES], ControlError> {
    let len = u32::try_from(description.len());
    let len = len.map_err(|_| ControlError::Refused {
        sentence: AdminError::ImportFrame.to_string(),
    })?;
    Ok(len.to_be_bytes())
}
