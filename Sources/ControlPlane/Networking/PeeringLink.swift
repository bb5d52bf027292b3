import IPAddressing

/// The addresses at both ends of the link that a peering is. Subnets are kept out of these blocks, and links off the metadata
/// service's address.
struct PeeringLink: Sendable {
  /// Of all links of both routers only this one has the number.
  let number: Int

  /// Link-local in IPv4 (RFC 3927), where networks have their metadata service beside it.
  static let block = "169.254.128.0/17"
  /// The one that would have 169.254.169.254.
  static let metadataNumber = 2687
  /// A prefix of our own (RFC 4193).
  static let block6 = "fd41:6c6f:6674::/48"

  /// Of an end, with the lengths of their prefixes: 0 is `network_id`'s router, 1 `peer_network_id`'s.
  func addresses(of end: Int) -> [(address: IPAddress, prefixLength: Int)] {
    let offset = UInt64(number * 4 + 1 + end)
    return [(Self.block, 30), (Self.block6, 126)].compactMap { block, length in
      AddressBlock(block)?.base.advanced(by: offset).map { ($0, length) }
    }
  }
}
