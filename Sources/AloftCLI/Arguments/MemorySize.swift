import ArgumentParser

/// An amount of memory on the command line: `512`, `512MiB`, `2GiB`. A bare number is MiB.
struct MemorySize: ExpressibleByArgument, Equatable, Sendable {
  let mebibytes: Int

  init?(argument: String) {
    guard
      let value = BinarySize.parse(argument, units: ["": 1, "M": 1, "MIB": 1, "G": 1024, "GIB": 1024, "TIB": 1 << 20])
    else { return nil }
    mebibytes = value
  }
}

/// An amount of disk on the command line: `10`, `10GiB`, `1TiB`. A bare number is GiB.
struct DiskSize: ExpressibleByArgument, Equatable, Sendable {
  let gibibytes: Int

  init?(argument: String) {
    guard let value = BinarySize.parse(argument, units: ["": 1, "G": 1, "GIB": 1, "T": 1024, "TIB": 1024])
    else { return nil }
    gibibytes = value
  }
}

/// A number of bytes on the command line: `4096`, `64KiB`, `1MiB`.
struct ByteCount: ExpressibleByArgument, Equatable, Sendable {
  let bytes: Int

  init?(argument: String) {
    guard
      let value = BinarySize.parse(
        argument, units: ["": 1, "B": 1, "K": 1024, "KIB": 1024, "M": 1 << 20, "MIB": 1 << 20])
    else { return nil }
    bytes = value
  }
}

/// A whole number with a binary unit in any case. Decimal units (`GB`) are refused: what is asked for must be exact.
enum BinarySize {
  static func parse(_ text: String, units: [String: Int]) -> Int? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }.uppercased()
    guard let number = Int(digits), let factor = units[unit] else { return nil }
    let (value, overflow) = number.multipliedReportingOverflow(by: factor)
    return overflow ? nil : value
  }
}
