//! nginx as the origin: redirects, and a recording in which a browser seeks.

use std::fs;

use crate::{
    application::{Application, command, source},
    chromium::Browser,
    instance::Home,
    ports::free_port,
    waiting::until,
};

/// Samples of the recording in a second: one channel, one byte each.
const RATE: u32 = 44_100;
/// The length of the recording in seconds. It is too long for a browser to load it all before a user asks for the end.
const SECONDS: u32 = 600;

/// A recording of silence as a WAV file.
fn recording() -> Vec<u8> {
    let samples = RATE * SECONDS;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + samples).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend([1, 0, 1, 0]);
    file.extend(RATE.to_le_bytes());
    // Bytes in a second.
    file.extend(RATE.to_le_bytes());
    // Bytes for each sample, bits of a sample.
    file.extend([1, 0, 8, 0]);
    file.extend(b"data");
    file.extend(samples.to_le_bytes());
    file.resize(file.len() + samples as usize, 128);
    file
}

/// Starts nginx with a site in the home.
fn start(home: &Home) -> Application {
    let port = free_port();
    let configuration = fs::read_to_string(source("nginx/nginx.conf")).unwrap();
    home.write(
        "nginx.conf",
        &configuration.replace("PORT", &port.to_string()),
    );
    home.write("html/site/new/index.html", "the new page");
    let mut nginx = command(home, "nginx");
    nginx.arg("-p").arg(home.path("work"));
    nginx.args(["-e", "stderr", "-c", "nginx.conf"]);
    Application::start_on(port, home, nginx)
}

pub(crate) fn redirects_stay_with_the_proxy() {
    let home = Home::new();
    let application = start(&home);
    let proxy = home.start(&format!("{}/site", application.url()), &[]);
    let host = format!("Host: shop.test:{}\r\n", proxy.port);
    let location = |target: &str| {
        let mut client = crate::client::Client::connect(proxy.port);
        client.send(format!(
            "GET {target} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
        ));
        let answer = client.answer();
        let location = answer.field("location").unwrap().to_owned();
        (answer.status(), answer.x_cache().to_owned(), location)
    };
    for outcome in ["MISS", "HIT"] {
        // nginx makes absolute URLs of both, with its own name and port, and with the prefix that the client does not know.
        for target in ["/old", "/new"] {
            let (status, x_cache, to) = location(target);
            let site = format!("http://shop.test:{}", proxy.port);
            let path = to.strip_prefix(&site).unwrap_or(&to);
            assert_eq!((status, x_cache.as_str(), path), (301, outcome, "/new/"));
        }
    }
    assert_eq!(location("/elsewhere").2, "http://elsewhere.test/");
    // Outside of what the proxy shows of the origin.
    assert_eq!(
        location("/outside").2,
        format!("{}/login", application.url())
    );
    proxy.get("/new/").expect(200, "MISS", "the new page");
}

pub(crate) fn a_recording_is_sought_by_a_browser() {
    let home = Home::new();
    let application = start(&home);
    fs::write(home.path("work/html/site/recording.wav"), recording()).unwrap();
    let page =
        "<!doctype html><video id=\"video\" preload=\"metadata\" src=\"recording.wav\"></video>";
    home.write("html/site/player.html", page);
    let proxy = home.start(&format!("{}/site", application.url()), &[]);
    let browser = Browser::open(&home);
    let seeks = |browser: &Browser| {
        browser.go(&format!("http://127.0.0.1:{}/player.html", proxy.port));
        until("the length is known", || {
            browser.eval("document.getElementById('video').duration") == SECONDS
        });
        for second in [SECONDS - 20, 100, SECONDS - 200] {
            browser.eval(&format!(
                "document.getElementById('video').currentTime = {second}"
            ));
            until("the browser is there and can play on", || {
                let state = browser
                    .eval("[video.seeking, video.currentTime, video.readyState > 2, video.error]");
                state == serde_json::json!([false, second, true, null])
            });
        }
    };
    seeks(&browser);
    // The browser has left the fetch of the whole, which goes on. When it has ended, another visit asks nginx for nothing.
    until("nothing is being fetched", || {
        home.run_json(&["stats", "--json"])["cache"]["fetches"] == 0
    });
    let requests = || fs::read_to_string(home.path("work/access.log")).unwrap();
    let before = requests();
    let another = Browser::open(&home);
    seeks(&another);
    assert_eq!(requests(), before, "{}", proxy.log());
}
