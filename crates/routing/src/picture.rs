//! QR pictures of what a customer scans.

use std::fmt::Write as _;

use fast_qr::{ECL, QRBuilder};

/// Light modules around the picture, which readers need.
const QUIET: usize = 4;

/// Pixels for each module of a PNG: about 400 pixels for a link.
const PIXELS: usize = 8;

/// The modules of a QR picture, dark ones true, row by row, without the quiet zone.
struct Modules {
    size: usize,
    dark: Vec<bool>,
}

impl Modules {
    fn of(text: &str) -> Option<Self> {
        // A sixth of it may be dirt.
        let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
        let size = code.size;
        let dark = (0..size).flat_map(|row| code[row].iter().map(|module| module.value()));
        Some(Self { size, dark: dark.collect() })
    }

    fn row(&self, row: usize) -> &[bool] {
        &self.dark[row * self.size..(row + 1) * self.size]
    }
}

/// A picture as SVG and as PNG; none, when the text is too long for one.
pub(crate) fn draw(text: &str) -> Option<(String, Vec<u8>)> {
    let modules = Modules::of(text)?;
    Some((svg(&modules), png(&modules)?))
}

/// One path, whose strokes are the runs of dark modules: a fifth of the size of one rectangle each.
fn svg(modules: &Modules) -> String {
    let side = modules.size + 2 * QUIET;
    let mut path = String::new();
    for row in 0..modules.size {
        let (mut pen, mut column) = (None, 0);
        for run in modules.row(row).chunk_by(|one, other| one == other) {
            if run.first() == Some(&true) {
                let _ = match pen {
                    None => write!(path, "M{} {}.5", column + QUIET, row + QUIET),
                    Some(pen) => write!(path, "m{} 0", column - pen),
                };
                let _ = write!(path, "h{}", run.len());
                pen = Some(column + run.len());
            }
            column += run.len();
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\
         <path stroke=\"#000\" d=\"{path}\"/></svg>"
    )
}

/// Black and white, one bit for each pixel.
fn png(modules: &Modules) -> Option<Vec<u8>> {
    let side = (modules.size + 2 * QUIET) * PIXELS;
    let width = side.div_ceil(8);
    let mut pixels = vec![0xff_u8; width * side];
    for (row, line) in pixels.chunks_mut(width).enumerate() {
        let Some(row) = (row / PIXELS).checked_sub(QUIET).filter(|row| *row < modules.size) else {
            continue;
        };
        for (column, _) in modules.row(row).iter().enumerate().filter(|(_, dark)| **dark) {
            let first = (column + QUIET) * PIXELS;
            for pixel in first..first + PIXELS {
                line[pixel / 8] &= !(0x80 >> (pixel % 8));
            }
        }
    }
    let side = u32::try_from(side).ok()?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader of QR pictures reads.
    fn read_png(file: &[u8]) -> String {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let (width, height) = (info.width as usize, info.height as usize);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            pixels[y * info.line_size + x]
        });
        let grids = image.detect_grids();
        let [grid] = &grids[..] else { panic!("{} pictures", grids.len()) };
        grid.decode().unwrap().1
    }

    /// Draws the strokes of the path, and reads what was drawn.
    fn read_svg(text: &str) -> String {
        let (_, path) = text.split_once("stroke=\"#000\" d=\"").unwrap();
        let (path, _) = path.split_once('"').unwrap();
        let mut dark = std::collections::BTreeSet::new();
        let (mut x, mut y) = (0, 0);
        let mut rest = path;
        while let Some(command) = rest.chars().next() {
            let end = rest[1..].find(|c: char| c.is_alphabetic()).map_or(rest.len(), |at| at + 1);
            let numbers: Vec<f64> =
                rest[1..end].split(' ').map(|number| number.parse().unwrap()).collect();
            let whole = |number: f64| format!("{number:.0}").parse::<usize>().unwrap();
            match command {
                'M' => (x, y) = (whole(numbers[0]), whole(numbers[1] - 0.5)),
                'm' => x += whole(numbers[0]),
                'h' => {
                    dark.extend((x..x + whole(numbers[0])).map(|x| (x - QUIET, y - QUIET)));
                    x += whole(numbers[0]);
                }
                other => panic!("{other}"),
            }
            rest = &rest[end..];
        }
        let size = dark.iter().map(|(x, _)| *x).max().unwrap() + 1;
        let grid = rqrr::SimpleGrid::from_func(size, |x, y| dark.contains(&(x, y)));
        rqrr::Grid::new(grid).decode().unwrap().1
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn both_pictures_say_the_text(account in "[a-z0-9]{1,29}", code in "[0-9A-Z]{47}") {
            for text in [
                format!("https://line.me/R/oaMessage/%40{account}/?MS-{code}"),
                format!("MS-{code}"),
            ] {
                let (svg, png) = draw(&text).unwrap();
                prop_assert_eq!(read_png(&png), text.as_str());
                prop_assert_eq!(read_svg(&svg), text.as_str());
                prop_assert!(svg.len() < 6_000 && png.len() < 3_000, "{} {}", svg.len(), png.len());
            }
        }
    }

    #[test]
    fn a_text_that_is_too_long_has_no_picture() {
        assert!(draw(&"x".repeat(5_000)).is_none());
    }
}
