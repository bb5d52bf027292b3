import IPAddressing
import JSON
import Postgres

// PostgreSQL's inet, cidr and macaddr, and JSON, hold them as they are spelled.

extension IPAddress: PostgresArrayElement, JSONWritable {
  public var postgresValue: PostgresValue { .text(description) }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    guard let address = IPAddress(try cell.text()) else { throw PostgresDecodingFailure("it is no address") }
    self = address
  }

  public func write(to writer: inout JSONWriter) { description.write(to: &writer) }
}

extension AddressBlock: PostgresArrayElement, JSONWritable {
  public var postgresValue: PostgresValue { .text(description) }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    guard let block = AddressBlock(try cell.text()) else {
      throw PostgresDecodingFailure("it is no block of addresses")
    }
    self = block
  }

  public func write(to writer: inout JSONWriter) { description.write(to: &writer) }
}

extension MACAddress: PostgresArrayElement, JSONWritable {
  public var postgresValue: PostgresValue { .text(description) }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    guard let mac = MACAddress(try cell.text()) else { throw PostgresDecodingFailure("it is no MAC address") }
    self = mac
  }

  public func write(to writer: inout JSONWriter) { description.write(to: &writer) }
}
