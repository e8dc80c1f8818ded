@file:Suppress("PackageDirectoryMismatch")

package android.content.res

import android.os.ParcelFileDescriptor
import java.io.Closeable

public class Configuration

public abstract class AssetManager {
    public abstract fun openFd(fileName: String): AssetFileDescriptor
}

public class AssetFileDescriptor(
    public val parcelFileDescriptor: ParcelFileDescriptor,
    public val startOffset: Long,
    public val length: Long,
) : Closeable {
    override fun close(): Unit = parcelFileDescriptor.close()
}
