//! QR codes, read from a picture as a telephone's camera reads them.

use std::io::Cursor;

/// Larger ones are not looked at.
const MOST_PIXELS: usize = 4_000 * 4_000;

/// The text of the code in a PNG.
///
/// # Errors
/// Why there is none.
pub(crate) fn read(png: &[u8]) -> Result<String, &'static str> {
    let mut decoder = png::Decoder::new(Cursor::new(png));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|_| "the picture must be a PNG")?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    if width.saturating_mul(height) > MOST_PIXELS {
        return Err("the picture is larger than 4000 by 4000");
    }
    let size = reader.output_buffer_size().ok_or("the picture is too large")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(|_| "the picture breaks off")?;
    let samples = frame.color_type.samples();
    // What can be seen through is paper.
    let grey = |x: usize, y: usize| {
        let pixel = &pixels[(y * width + x) * samples..][..samples];
        let (colours, alpha) = match samples {
            2 | 4 => (&pixel[..samples - 1], pixel[samples - 1]),
            _ => (pixel, 255),
        };
        let sum: usize = colours.iter().map(|colour| usize::from(*colour)).sum();
        let level = sum / colours.len().max(1);
        let seen = (level * usize::from(alpha) + 255 * (255 - usize::from(alpha))) / 255;
        u8::try_from(seen).unwrap_or(255)
    };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    let grids = image.detect_grids();
    let code = grids.first().ok_or("no code is in the picture")?.decode();
    code.map(|(_, text)| text).map_err(|_| "the code cannot be read")
}
