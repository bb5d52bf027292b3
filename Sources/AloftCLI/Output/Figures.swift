import Foundation
import JSON

/// Figures in the units that people read.
enum Figures {
  /// MiB as `512 MiB`, or whole GiB as `2 GiB`.
  static func mebibytes(_ mib: Int) -> String {
    mib >= 1024 && mib % 1024 == 0 ? "\(mib / 1024) GiB" : "\(mib) MiB"
  }

  /// Bytes in the largest binary unit that leaves at least 1, with one decimal.
  static func bytes(_ count: Int64) -> String {
    var value = Double(count)
    var unit = 0
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return unit == 0 ? "\(count) B" : "\(decimal(value)) \(units[unit])"
  }

  /// How long ago: `5s`, `12m`, `3h`, `9d`.
  static func age(from then: Date, to now: Date) -> String {
    let seconds = max(0, Int(now.timeIntervalSince(then)))
    return switch seconds {
    case ..<120: "\(seconds)s"
    case ..<7200: "\(seconds / 60)m"
    case ..<172_800: "\(seconds / 3600)h"
    default: "\(seconds / 86_400)d"
    }
  }

  /// A span of time as `7s` or `2m05s`.
  static func span(_ duration: Duration) -> String {
    let seconds = max(0, Int(duration.components.seconds))
    guard seconds >= 60 else { return "\(seconds)s" }
    let rest = seconds % 60
    return "\(seconds / 60)m" + (rest < 10 ? "0" : "") + "\(rest)s"
  }

  private static func decimal(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }
}
