import FoundationEssentials

/// Times as RFC 3339 text, without a formatter: a formatter costs microseconds and a locale.
public enum RFC3339 {
  /// The time in UTC with milliseconds, as in `2026-02-03T04:05:06.789Z`.
  public static func string(from date: Date) -> String {
    var bytes: [UInt8] = []
    append(date, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Appends the time in UTC, rounded to the nearest millisecond. Years outside 0000…9999, which the format lacks, are
  /// written as its first or last instant.
  public static func append(_ date: Date, to bytes: inout [UInt8]) {
    // 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z
    let milliseconds = min(max((date.timeIntervalSince1970 * 1000).rounded(), -62_167_219_200_000), 253_402_300_799_999)
    let total = milliseconds.isNaN ? 0 : Int(milliseconds)
    let (days, inDay) = flooredDivision(total, 86_400_000)
    let (year, month, day) = civil(fromDays: days)
    decimal(year, 4, &bytes)
    bytes.append(UInt8(ascii: "-"))
    decimal(month, 2, &bytes)
    bytes.append(UInt8(ascii: "-"))
    decimal(day, 2, &bytes)
    bytes.append(UInt8(ascii: "T"))
    decimal(inDay / 3_600_000, 2, &bytes)
    bytes.append(UInt8(ascii: ":"))
    decimal(inDay / 60_000 % 60, 2, &bytes)
    bytes.append(UInt8(ascii: ":"))
    decimal(inDay / 1000 % 60, 2, &bytes)
    bytes.append(UInt8(ascii: "."))
    decimal(inDay % 1000, 3, &bytes)
    bytes.append(UInt8(ascii: "Z"))
  }

  /// Parses an RFC 3339 `date-time` (section 5.6): any offset, any number of fraction digits, a leap second counted as
  /// the next second. Nil when it is none.
  public static func date(from text: String) -> Date? {
    var reader = Reader(bytes: Array(text.utf8))
    guard let year = reader.digits(4), reader.take("-"), let month = reader.digits(2), reader.take("-"),
      let day = reader.digits(2), reader.take("T") || reader.take("t"),
      let hour = reader.digits(2), reader.take(":"), let minute = reader.digits(2), reader.take(":"),
      let second = reader.digits(2), (1...12).contains(month), (1...daysIn(month, year)).contains(day),
      hour < 24, minute < 60, second <= 60
    else { return nil }
    var fraction = 0.0
    if reader.take(".") {
      guard let value = reader.fraction() else { return nil }
      fraction = value
    }
    guard let offset = reader.offset(), reader.isAtEnd else { return nil }
    let seconds = days(fromCivil: year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
    return Date(timeIntervalSince1970: Double(seconds) + fraction)
  }

  private struct Reader {
    let bytes: [UInt8]
    var position = 0

    var isAtEnd: Bool { position == bytes.count }

    mutating func take(_ scalar: Unicode.Scalar) -> Bool {
      guard position < bytes.count, UInt32(bytes[position]) == scalar.value else { return false }
      position += 1
      return true
    }

    mutating func digit() -> Int? {
      guard position < bytes.count, bytes[position] &- UInt8(ascii: "0") < 10 else { return nil }
      position += 1
      return Int(bytes[position - 1] - UInt8(ascii: "0"))
    }

    mutating func digits(_ count: Int) -> Int? {
      var value = 0
      for _ in 0..<count {
        guard let digit = digit() else { return nil }
        value = value * 10 + digit
      }
      return value
    }

    mutating func fraction() -> Double? {
      var value = 0
      var scale = 1
      var count = 0
      while let digit = digit() {
        count += 1
        // Digits beyond nanoseconds are below what a Date can hold.
        if count <= 9 {
          value = value * 10 + digit
          scale *= 10
        }
      }
      return count > 0 ? Double(value) / Double(scale) : nil
    }

    /// Seconds east of UTC.
    mutating func offset() -> Int? {
      if take("Z") || take("z") { return 0 }
      let sign: Int
      if take("+") { sign = 1 } else if take("-") { sign = -1 } else { return nil }
      guard let hour = digits(2), take(":"), let minute = digits(2), hour < 24, minute < 60 else { return nil }
      return sign * (hour * 3600 + minute * 60)
    }
  }

  // MARK: the proleptic Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms")

  private static func flooredDivision(_ value: Int, _ divisor: Int) -> (quotient: Int, remainder: Int) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }

  private static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
    let (era, dayOfEra) = flooredDivision(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
  }

  private static func days(fromCivil year: Int, _ month: Int, _ day: Int) -> Int {
    let (era, yearOfEra) = flooredDivision(month <= 2 ? year - 1 : year, 400)
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func daysIn(_ month: Int, _ year: Int) -> Int {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  private static func decimal(_ value: Int, _ width: Int, _ bytes: inout [UInt8]) {
    var divisor = 1
    for _ in 1..<width { divisor *= 10 }
    while divisor > 0 {
      bytes.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
      divisor /= 10
    }
  }
}
