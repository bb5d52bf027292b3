import AloftModel

extension RBDPool {
  func export(
    _ export: VolumeAssignment.Export, of volume: VolumeID,
    begin: @escaping @Sendable () async throws(AgentFailure) -> Void,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) -> ExportedFile {
    throw AgentFailure(.unsupported, "no images are made of volumes in pools of this kind")
  }

  /// There are none.
  func removeExports(but wanted: Set<ImageID>) {}
}
