#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/report/metrics.h"

namespace minimind {

using Points = std::vector<std::pair<double, double>>;

/// Exponential moving average over about a twelfth of the points, over fewer points at the start of the curve.
Points smooth(const Points& points);

/// A self-contained HTML page with the curves of each model and stage, raw and smoothed, and the held-out losses.
/// `is_live`: the run continues, so the page reloads itself.
std::string metrics_page(const std::string& title, const std::vector<MetricsRecord>& records,
                         const std::vector<ValidationRecord>& validations, bool is_live);

}  // namespace minimind
