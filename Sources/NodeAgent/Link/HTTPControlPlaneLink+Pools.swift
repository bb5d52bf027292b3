import AloftModel

extension HTTPControlPlaneLink {
  public func isToLook(at pool: String) async throws(AgentFailure) -> Bool {
    let turn: SharedPoolTurn = try await call(
      .get, "/agent/v1/pools/\(pool)", body: [], patience: Self.patience)
    return turn.look
  }

  public func compare(
    _ contents: SharedPoolContents, with pool: String
  ) async throws(AgentFailure) -> SharedPoolDifferences {
    try await call(.post, "/agent/v1/pools/\(pool)/contents", contents)
  }
}

/// Links to control planes that do not know what pools which nodes share are to hold.
extension ControlPlaneLink {
  public func isToLook(at pool: String) async throws(AgentFailure) -> Bool { false }
  public func compare(
    _ contents: SharedPoolContents, with pool: String
  ) async throws(AgentFailure) -> SharedPoolDifferences { SharedPoolDifferences() }
}
