import Glibc

/// Takes a string that libvirt allocated for the caller; throws ``LibvirtError/last()`` if there is none.
func takeString(_ pointer: UnsafeMutablePointer<CChar>?) throws(LibvirtError) -> String {
  guard let pointer else { throw LibvirtError.last() }
  defer { free(pointer) }
  return String(cString: pointer)
}

/// Takes a list of objects that libvirt allocated for the caller and returns their names.
func takeList(
  _ list: UnsafeMutablePointer<OpaquePointer?>?, _ count: Int32, name: (OpaquePointer) -> UnsafePointer<CChar>?,
  release: (OpaquePointer) -> Void
) -> [String] {
  defer { free(list) }
  var names: [String] = []
  for case let object? in UnsafeBufferPointer(start: list, count: Int(count)) {
    if let name = name(object) { names.append(String(cString: name)) }
    release(object)
  }
  return names
}
