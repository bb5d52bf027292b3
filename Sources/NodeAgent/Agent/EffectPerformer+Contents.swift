import AloftModel

extension EffectPerformer {
  /// What is kept on the node, and in pools that nodes share where it is this node's turn to look.
  func contents() async throws(AgentFailure) -> NodeContents {
    var contents = try await storage.contents()
    for pool in await storage.pools() where pool.kind == .rbd && pool.problem == nil {
      guard let backend = storage.pool(pool.name) else { continue }
      // Neither a cluster nor a control plane that does not answer keeps the rest from being told.
      do throws(AgentFailure) {
        contents.pools[pool.name] = PoolContents(findings: try await findings(in: backend, pool.name))
      } catch {
        logger.warning(
          "a pool that nodes share could not be looked through",
          metadata: ["pool": "\(pool.name)", "failure": "\(error)"])
      }
    }
    return contents
  }

  private func findings(in backend: any VolumeBackend, _ pool: String) async throws(AgentFailure) -> [String] {
    guard try await link.isToLook(at: pool) else { return [] }
    let link = link
    return try await backend.findings(uptime: clock.now().uptime) { contents throws(AgentFailure) in
      try await link.compare(contents, with: pool)
    }
  }
}
