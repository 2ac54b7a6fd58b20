//! The dashboard: one page and its scripts and styles, from `web/dist`.
//!
//! A release build embeds the files; a debug build reads them from the folder. `make server` builds
//! both. Without them, the page says how to build them.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::Embed;

use super::error::ApiError;
use super::public_url::PublicUrl;
use super::state::AppState;

/// As on every answer, but the page has a `<base>`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'self'; form-action 'self'; \
    frame-ancestors 'none'";

/// What the page says if the files are missing.
const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
    <title>Guard</title><h1>The dashboard is not built</h1>\
    <p>Run <code>make server</code> in the folder of the project. It builds the dashboard and puts it \
    into guard-server. The API works without it.</p></html>\n";

/// In the built page, what the browser resolves all paths against.
const ROOT: &str = "<base href=\"/\"";

/// The compressed forms of a file, best first: the name of the encoding, and the ending of the file.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

#[derive(Embed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dashboard;

/// Every path of the dashboard: the script decides which page it shows.
pub(crate) async fn page(State(state): State<Arc<AppState>>) -> Response {
    let file = Dashboard::get("index.html").map(|file| file.data);
    let base = state.public_url.as_ref().map_or("", PublicUrl::base);
    page_at(file.as_deref(), base)
}

/// The page below a base path.
fn page_at(file: Option<&[u8]>, base: &str) -> Response {
    let text = match file {
        Some(file) => {
            String::from_utf8_lossy(file).replace(ROOT, &format!("<base href=\"{base}/\""))
        }
        None => NOT_BUILT.to_owned(),
    };
    let mut response = Html(text).into_response();
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    set(&mut response, header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// `GET /assets/{file}`. The name has a hash of the content, so browsers keep the file for good.
pub(crate) async fn asset(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let find = |name: &str| Dashboard::get(name).map(|file| file.data);
    let mut response = file_at(&format!("assets/{name}"), &headers, find)?;
    set(
        &mut response,
        header::CACHE_CONTROL,
        "public, max-age=31536000, immutable",
    );
    Ok(response)
}

/// `GET /favicon.svg`.
pub(crate) async fn icon(headers: HeaderMap) -> Result<Response, ApiError> {
    file_at("favicon.svg", &headers, |name| {
        Dashboard::get(name).map(|file| file.data)
    })
}

/// A file in the best form that the browser takes.
fn file_at(
    path: &str,
    headers: &HeaderMap,
    find: impl Fn(&str) -> Option<Cow<'static, [u8]>>,
) -> Result<Response, ApiError> {
    let kind = match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript",
        Some((_, "css")) => "text/css",
        Some((_, "svg")) => "image/svg+xml",
        _ => return Err(ApiError::new(StatusCode::NOT_FOUND, "No such path")),
    };
    let compressed = ENCODINGS
        .into_iter()
        .filter(|(encoding, _)| accepts(headers, encoding));
    let found = compressed
        .map(|(encoding, ending)| (Some(encoding), format!("{path}{ending}")))
        .chain([(None, path.to_owned())])
        .find_map(|(encoding, path)| Some((encoding, find(&path)?)));
    let Some((encoding, content)) = found else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "No such path"));
    };
    let mut response = content.into_response();
    set(&mut response, header::CONTENT_TYPE, kind);
    set(&mut response, header::VARY, "Accept-Encoding");
    if let Some(encoding) = encoding {
        set(&mut response, header::CONTENT_ENCODING, encoding);
    }
    Ok(response)
}

/// Whether the browser takes an encoding.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut named = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|it| it.split(','));
    named.any(|it| {
        let (name, weight) = it.split_once(';').unwrap_or((it, ""));
        let refused = weight.trim().trim_start_matches("q=").parse() == Ok(0.0);
        name.trim().eq_ignore_ascii_case(encoding) && !refused
    })
}

fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn accepting(encodings: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, encodings.parse().unwrap())])
    }

    #[tokio::test]
    async fn the_page_resolves_its_paths_below_the_base_path() {
        let file = b"<head><base href=\"/\" /></head>";
        let page = page_at(Some(file), "/guard");
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(!policy.contains("unsafe"));
        assert_eq!(text(page).await, "<head><base href=\"/guard/\" /></head>");
        assert_eq!(
            text(page_at(Some(file), "")).await,
            "<head><base href=\"/\" /></head>"
        );
    }

    #[tokio::test]
    async fn a_server_without_the_files_says_how_to_build_them() {
        assert!(text(page_at(None, "")).await.contains("make server"));
    }

    #[tokio::test]
    async fn a_file_comes_in_the_best_form_that_the_browser_takes() {
        let find = |name: &str| {
            let known = [
                "assets/a.js",
                "assets/a.js.gz",
                "assets/a.js.br",
                "assets/b.css",
            ];
            let found = known.into_iter().find(|it| *it == name)?;
            Some(Cow::Borrowed(found.as_bytes()))
        };
        for (encodings, path, expected) in [
            ("gzip, deflate, br, zstd", "assets/a.js", "assets/a.js.br"),
            ("gzip", "assets/a.js", "assets/a.js.gz"),
            ("br;q=0, GZIP", "assets/a.js", "assets/a.js.gz"),
            ("identity", "assets/a.js", "assets/a.js"),
            ("br", "assets/b.css", "assets/b.css"),
        ] {
            let response = file_at(path, &accepting(encodings), find).unwrap();
            let is_compressed = response.headers().contains_key(header::CONTENT_ENCODING);
            assert_eq!(is_compressed, expected != path, "{encodings}");
            assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
            assert_eq!(text(response).await, expected, "{encodings}");
        }
        for missing in ["assets/c.js", "assets/../index.html", "assets/a.js.br"] {
            assert!(
                file_at(missing, &accepting("br"), find).is_err(),
                "{missing}"
            );
        }
    }
}
