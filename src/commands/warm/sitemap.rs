//! Reads one sitemap or sitemap index (sitemaps.org). Pure: bytes in, locations out; nothing in it is loaded or expanded.

use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};

use super::target::MAX_TARGET_BYTES;

/// The largest sitemap that the protocol allows, in bytes.
pub(super) const MAX_SITEMAP_BYTES: usize = 50 * 1024 * 1024;
/// How deep elements may be nested. A sitemap has three levels, its extensions some more.
const MAX_DEPTH: usize = 32;
/// The first bytes of gzip data (RFC 1952, 2.3.1).
pub(super) const GZIP: &[u8] = &[0x1f, 0x8b];

/// The locations in a document, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sitemap {
    /// Pages.
    Pages(Vec<String>),
    /// Other sitemaps.
    Index(Vec<String>),
}

/// Why a document is not read as a sitemap.
#[derive(Debug, thiserror::Error)]
pub(super) enum SitemapError {
    #[error(
        "it is compressed with gzip, and warm reads plain XML only: give an uncompressed sitemap, or a list of paths"
    )]
    Compressed,
    #[error("it is not text in UTF-8")]
    Encoding,
    #[error("it is not XML: {0}")]
    Xml(String),
    #[error("it is not a sitemap: its root element is neither <urlset> nor <sitemapindex>")]
    Root,
    #[error("it declares a document type, which is not allowed in a sitemap")]
    DocumentType,
    #[error("it uses the entity &{0};, which XML does not define")]
    Entity(String),
    #[error("its elements are nested deeper than {MAX_DEPTH}")]
    Deep,
    #[error("it ends within an element")]
    Cut,
}

impl SitemapError {
    /// True for a document that is something else than a sitemap with a mistake in it.
    pub(super) fn is_other_document(&self) -> bool {
        matches!(self, Self::Encoding | Self::Xml(_) | Self::Root)
    }
}

/// Reads a whole document.
pub(super) fn parse(bytes: &[u8]) -> Result<Sitemap, SitemapError> {
    if bytes.starts_with(GZIP) {
        return Err(SitemapError::Compressed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| SitemapError::Encoding)?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let mut reading = SitemapParser::default();
    loop {
        let event = reader.read_event();
        match event.map_err(|error| SitemapError::Xml(error.to_string()))? {
            Event::Start(tag) => reading.open(tag.local_name().as_ref())?,
            Event::Empty(tag) => {
                reading.open(tag.local_name().as_ref())?;
                reading.close();
            }
            Event::End(_) => reading.close(),
            Event::Text(text) => reading.text(&text),
            Event::CData(text) => reading.text(&text),
            Event::GeneralRef(name) => match name.resolve_char_ref() {
                Ok(Some(letter)) => reading.text(letter.encode_utf8(&mut [0; 4])),
                Ok(None) => reading.text(
                    resolve_predefined_entity(&name)
                        .ok_or_else(|| SitemapError::Entity(name.chars().take(40).collect()))?,
                ),
                Err(error) => return Err(SitemapError::Xml(error.to_string())),
            },
            Event::DocType(_) => return Err(SitemapError::DocumentType),
            Event::Eof => return reading.finish(),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Pages,
    Index,
}

/// The position in the document. A location is `<loc>` in `<url>` in `<urlset>`, or in `<sitemap>` in `<sitemapindex>`;
/// those of images and other extensions are deeper.
#[derive(Default)]
struct SitemapParser {
    root: Option<Root>,
    depth: usize,
    in_entry: bool,
    location: Option<String>,
    found: Vec<String>,
}

impl SitemapParser {
    fn open(&mut self, name: &str) -> Result<(), SitemapError> {
        match (self.depth, self.root) {
            (0, None) => {
                self.root = Some(match name {
                    "urlset" => Root::Pages,
                    "sitemapindex" => Root::Index,
                    _ => return Err(SitemapError::Root),
                });
            }
            (0, Some(_)) => return Err(SitemapError::Root),
            (1, Some(Root::Pages)) => self.in_entry = name == "url",
            (1, Some(Root::Index)) => self.in_entry = name == "sitemap",
            (2, _) if self.in_entry && name == "loc" => self.location = Some(String::new()),
            (MAX_DEPTH.., _) => return Err(SitemapError::Deep),
            _ => {}
        }
        self.depth += 1;
        Ok(())
    }

    /// A location is read up to a little more than the longest target, so that a longer one is refused later.
    fn text(&mut self, text: &str) {
        if let Some(location) = &mut self.location
            && self.depth == 3
            && location.len() <= MAX_TARGET_BYTES
        {
            location.extend(text.chars().take(MAX_TARGET_BYTES + 1));
        }
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 2
            && let Some(location) = self.location.take()
        {
            let location = location.trim();
            if !location.is_empty() {
                self.found.push(location.to_owned());
            }
        }
    }

    fn finish(self) -> Result<Sitemap, SitemapError> {
        match self.root {
            _ if self.depth > 0 => Err(SitemapError::Cut),
            Some(Root::Pages) => Ok(Sitemap::Pages(self.found)),
            Some(Root::Index) => Ok(Sitemap::Index(self.found)),
            None => Err(SitemapError::Root),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(text: &str) -> Vec<String> {
        match parse(text.as_bytes()) {
            Ok(Sitemap::Pages(pages)) => pages,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn locations_are_read_with_their_entities_decoded() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>
            <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">
              <url><loc> http://h/a?b=1&amp;c=2&#38;d=&#x33; </loc><lastmod>2026-01-01</lastmod></url>
              <!-- <url><loc>/no</loc></url> -->
              <url><priority/><loc><![CDATA[/b?c&d]]></loc>
                <image:image><image:loc>/picture</image:loc></image:image></url>
              <other><loc>/no</loc></other><url><loc/></url>
            </urlset>";
        assert_eq!(pages(text), ["http://h/a?b=1&c=2&d=3", "/b?c&d"]);
        assert_eq!(
            pages("<s:urlset><s:url><s:loc>/a</s:loc></s:url></s:urlset>"),
            ["/a"]
        );
        let index = parse(b"<sitemapindex><sitemap><loc>/1.xml</loc></sitemap></sitemapindex>");
        assert_eq!(index.unwrap(), Sitemap::Index(vec!["/1.xml".to_owned()]));
    }

    #[test]
    fn a_hostile_or_invalid_sitemap_is_refused_with_a_message() {
        let bomb = "<!DOCTYPE urlset [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\
            <urlset><url><loc>&b;</loc></url></urlset>";
        let deep = format!("<urlset>{}", "<a>".repeat(100_000));
        for (text, words) in [
            (bomb, "document type"),
            ("<urlset><url><loc>/&b;</loc></url></urlset>", "&b;"),
            (deep.as_str(), "deeper than 32"),
            ("<html><body/></html>", "<urlset>"),
            ("<urlset/><urlset/>", "<urlset>"),
            ("", "<urlset>"),
            ("{}", "<urlset>"),
            ("<urlset><url><loc>/a</loc>", "ends within"),
            ("<urlset></url></urlset>", "not XML"),
            ("\u{1f}\u{8b}", "<urlset>"),
        ] {
            let said = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(words), "{text:.60}: {said}");
        }
        for (bytes, words) in [
            (&[0x1f, 0x8b, 8][..], "compressed"),
            (&[b'<', 0xff], "UTF-8"),
        ] {
            assert!(parse(bytes).unwrap_err().to_string().contains(words));
        }
    }

    #[test]
    fn an_endless_location_is_not_stored_whole() {
        let long = "x".repeat(10 * MAX_TARGET_BYTES);
        let found = pages(&format!("<urlset><url><loc>/{long}</loc></url></urlset>"));
        assert!((MAX_TARGET_BYTES + 1..=2 * MAX_TARGET_BYTES + 2).contains(&found[0].len()));
    }
}
