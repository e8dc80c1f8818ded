package org.attamba.android

import android.content.Context
import android.net.Uri
import java.io.FileNotFoundException
import org.attamba.Model
import org.attamba.ModelOptions
import org.attamba.Progress

/**
 * Opens a model directly from the app's assets; nothing is copied. The build must not
 * compress it: `androidResources { noCompress += "gguf" }`.
 */
public suspend fun Model.Companion.openAsset(
    context: Context,
    name: String,
    options: ModelOptions = ModelOptions(),
    progress: Progress? = null,
): Model =
    context.assets.openFd(name).use { asset ->
        open(asset.parcelFileDescriptor.fd, asset.startOffset, asset.length, options, progress)
    }

/** Opens a model that the user picked, for instance with `ACTION_OPEN_DOCUMENT`. */
public suspend fun Model.Companion.openUri(
    context: Context,
    uri: Uri,
    options: ModelOptions = ModelOptions(),
    progress: Progress? = null,
): Model {
    val file =
        context.contentResolver.openFileDescriptor(uri, "r")
            ?: throw FileNotFoundException("$uri provides no file")
    return file.use { open(it.fd, options = options, progress = progress) }
}
