import FoundationEssentials

/// `timestamptz`, to the microsecond. Connections speak ISO dates in UTC, so no zone is ever guessed.
extension Date: PostgresCodable {
  /// A date that is not a number goes out as such, for the server to refuse.
  public var postgresValue: PostgresValue {
    .text(timeIntervalSinceReferenceDate.isNaN ? "NaN" : Timestamp.text(microseconds: microsecondsSince1970))
  }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    guard let microseconds = try cell.withBytes({ Timestamp.microseconds($0) }) else {
      throw PostgresDecodingFailure("it is not a finite timestamp or date")
    }
    self.init(microsecondsSince1970: microseconds)
  }

  init(microsecondsSince1970 microseconds: Int64) {
    let reference = microseconds - 978_307_200_000_000
    self.init(timeIntervalSinceReferenceDate: Double(reference) / 1_000_000)
  }

  /// Clamped to the years 4713 BC to about 287000, which PostgreSQL can hold.
  var microsecondsSince1970: Int64 {
    let exact = (timeIntervalSinceReferenceDate * 1_000_000).rounded() + 978_307_200_000_000
    return Int64(min(max(exact, -210_866_803_200_000_000), 9_000_000_000_000_000_000))
  }
}

/// `interval`. Months have no fixed length and are refused; a day is 24 hours.
extension Duration: PostgresCodable {
  public var postgresValue: PostgresValue {
    let (seconds, attoseconds) = components
    let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    return .text("\(microseconds) microseconds")
  }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    guard let microseconds = try cell.withBytes({ Interval.microseconds($0) }) else {
      throw PostgresDecodingFailure("it is not an interval of days, hours, minutes and seconds")
    }
    self = .microseconds(microseconds)
  }
}

/// Days since 1970-01-01 and civil dates (proleptic Gregorian), after Howard Hinnant's "chrono-compatible date
/// algorithms"; a Calendar would cost a hundred times as much per row.
enum Timestamp {
  static func text(microseconds: Int64) -> String {
    let (day, rest) = microseconds.flooredDivision(by: 86_400_000_000)
    let shifted = day + 719_468
    let (era, dayOfEra) = shifted.flooredDivision(by: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let dayOfMonth = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let seconds = rest / 1_000_000
    let date = "\(padded(year > 0 ? year : 1 - year, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))"
    let time = "\(padded(seconds / 3_600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
    return "\(date) \(time).\(padded(rest % 1_000_000, 6))+00\(year > 0 ? "" : " BC")"
  }

  /// Reads `2024-02-29`, `2024-02-29 12:30:00`, with fraction, with offset (`+00`, `-03:30`), with ` BC`.
  static func microseconds(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
    var scanner = Scanner(bytes: text)
    guard var year = scanner.number(), scanner.skip("-"), let month = scanner.number(), scanner.skip("-"),
      let day = scanner.number(), (1...12).contains(month), (1...31).contains(day), year <= 294_276
    else { return nil }
    var time: Int64 = 0
    if scanner.skip(" "), let hour = scanner.number() {
      guard scanner.skip(":"), let minute = scanner.number() else { return nil }
      let second = scanner.skip(":") ? scanner.number() : 0
      guard let second else { return nil }
      time = (hour * 3_600 + minute * 60 + second) * 1_000_000
      if scanner.skip(".") {
        guard let fraction = scanner.fraction() else { return nil }
        time += fraction
      }
      if let offset = scanner.offset() { time -= offset * 1_000_000 }
      _ = scanner.skip(" ")
    }
    if scanner.skip("B"), scanner.skip("C") { year = 1 - year }
    guard scanner.isAtEnd else { return nil }
    let shiftedYear = month <= 2 ? year - 1 : year
    let (era, yearOfEra) = shiftedYear.flooredDivision(by: 400)
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return (era * 146_097 + dayOfEra - 719_468) * 86_400_000_000 + time
  }

  private static func padded(_ value: Int64, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
  }
}

/// ISO 8601 durations as PostgreSQL writes them with `IntervalStyle = iso_8601`: `P1DT2H3M4.5S`, each part signed.
enum Interval {
  static func microseconds(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
    var scanner = Scanner(bytes: text)
    guard scanner.skip("P") else { return nil }
    var total: Int64 = 0
    var inTime = false
    while !scanner.isAtEnd {
      if scanner.skip("T") {
        inTime = true
        continue
      }
      let negative = scanner.skip("-")
      guard let whole = scanner.number() else { return nil }
      let fraction = scanner.skip(".") ? scanner.fraction() : 0
      guard let fraction else { return nil }
      let unit: Int64
      if !inTime, scanner.skip("D") {
        unit = 86_400
      } else if inTime, scanner.skip("H") {
        unit = 3_600
      } else if inTime, scanner.skip("M") {
        unit = 60
      } else if inTime, scanner.skip("S") {
        unit = 1
      } else {
        return nil
      }
      let (product, overflow) = whole.multipliedReportingOverflow(by: unit * 1_000_000)
      let part = product.addingReportingOverflow(fraction * unit)
      let sum = total.addingReportingOverflow(negative ? -part.partialValue : part.partialValue)
      if overflow || part.overflow || sum.overflow { return nil }
      total = sum.partialValue
    }
    return total
  }
}

/// Reads the bytes of a cell; lives no longer than they do.
private struct Scanner {
  let bytes: UnsafeBufferPointer<UInt8>
  var index = 0

  init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  var isAtEnd: Bool { index == bytes.count }

  mutating func skip(_ character: Unicode.Scalar) -> Bool {
    guard index < bytes.count, bytes[index] == UInt8(ascii: character) else { return false }
    index += 1
    return true
  }

  mutating func number() -> Int64? {
    let start = index
    while index < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index]) { index += 1 }
    return Int64(ascii: bytes[start..<index])
  }

  /// Up to six digits after the point, as microseconds.
  mutating func fraction() -> Int64? {
    let start = index
    guard let digits = number(), index - start <= 6 else { return nil }
    return (start..<(start + 6 - (index - start))).reduce(digits) { value, _ in value * 10 }
  }

  /// `+hh`, `-hh:mm` or `+hh:mm:ss`, in seconds.
  mutating func offset() -> Int64? {
    let negative = skip("-")
    guard negative || skip("+"), let hours = number() else { return nil }
    let minutes = skip(":") ? number() ?? 0 : 0
    let seconds = skip(":") ? number() ?? 0 : 0
    let total = hours * 3_600 + minutes * 60 + seconds
    return negative ? -total : total
  }
}

extension Int64 {
  fileprivate func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }
}
