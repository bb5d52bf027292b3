// What the agent protocol says about volumes that go to another storage pool of their node.
//
// The document names both pools; the one that the volume comes from counts. The agent makes a copy, and decides, in one step and durably,
// that it counts instead; from then on, and over any restart, it does. As soon as the volume is in one pool only, and nothing of it in
// the other one, the agent says which that is, and gets a document with that one alone.

extension VolumeAssignment {
  /// Where a volume is to be.
  public struct Move: Sendable, Codable, Equatable, Hashable {
    /// The name of the pool.
    public var pool: String
    /// It is to stay where it is, unless it is there already. Nil: no.
    public var isGivenUp: Bool?

    public init(pool: String, isGivenUp: Bool = false) {
      self.pool = pool
      self.isGivenUp = isGivenUp ? true : nil
    }
  }
}
