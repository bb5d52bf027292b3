import ArgumentParser

/// A span of time on the command line: `90`, `90s`, `10m`, `2h`, `7d`. A bare number is seconds.
struct TimeSpan: ExpressibleByArgument, Equatable, Sendable {
  let seconds: Int

  var duration: Duration { .seconds(seconds) }

  init(seconds: Int) { self.seconds = seconds }

  init?(argument: String) {
    let units = ["": 1, "S": 1, "M": 60, "H": 3600, "D": 86_400]
    guard let value = BinarySize.parse(argument, units: units), value <= 10 * 365 * 86_400 else { return nil }
    seconds = value
  }

  var defaultValueDescription: String {
    if seconds % 86_400 == 0, seconds > 0 { return "\(seconds / 86_400)d" }
    return seconds % 60 == 0 && seconds > 0 ? "\(seconds / 60)m" : "\(seconds)s"
  }
}
