//! Decides whether figures grow.

use std::time::Duration;

/// One reading of the server's process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Which start of the server.
    pub(crate) run: u32,
    pub(crate) at: Duration,
    pub(crate) kilobytes: u64,
    pub(crate) descriptors: u32,
}

impl Sample {
    pub(crate) fn memory(&self) -> f64 {
        f64::from(u32::try_from(self.kilobytes).unwrap_or(u32::MAX))
    }

    pub(crate) fn open(&self) -> f64 {
        f64::from(self.descriptors)
    }
}

/// The least-squares slope per hour and its standard error; `None` for fewer than ten readings.
pub(crate) fn slope(samples: &[Sample], of: fn(&Sample) -> f64) -> Option<(f64, f64)> {
    if samples.len() < 10 {
        return None;
    }
    let count = f64::from(u32::try_from(samples.len()).ok()?);
    let points: Vec<(f64, f64)> = samples.iter().map(|sample| (sample.at.as_secs_f64() / 3600.0, of(sample))).collect();
    let (mean_x, mean_y) =
        (points.iter().map(|(x, _)| x).sum::<f64>() / count, points.iter().map(|(_, y)| y).sum::<f64>() / count);
    let spread = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let rest = points.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum::<f64>();
    Some((slope, (rest / (count - 2.0) / spread).sqrt()))
}
