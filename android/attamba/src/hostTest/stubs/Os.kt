@file:Suppress("PackageDirectoryMismatch")

package android.os

import java.io.Closeable

public class ParcelFileDescriptor(public val fd: Int, private val onClose: () -> Unit) : Closeable {
    override fun close(): Unit = onClose()
}
