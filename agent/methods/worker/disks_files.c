/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* disks.* that use files: what files.* do, with a disk to begin at, and told to others. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/methods/disk_place.h"
#include "agent/methods/file_entry.h"
#include "agent/methods/file_work.h"
#include "agent/methods/prototypes.h"
#include "proto/clock.h"

/* What is wrong with a disk is news; what is wrong with a request is its caller's alone. */
static bool is_news(const Postern__V1__Error *error)
{
	return error && error->code != POSTERN__V1__CODE__INVALID_ARGUMENT &&
	       error->code != POSTERN__V1__CODE__PERMISSION_DENIED;
}

int disk_tell_error(
	struct call *call, int r, const ProtobufCBinaryData *disk, const ProtobufCBinaryData *path)
{
	Postern__V1__NotifyError told = POSTERN__V1__NOTIFY_ERROR__INIT;

	worker_touch_done(call);
	if (r >= 0 || !is_news(call->error))
		return r;
	told.module = (char *)"disks";
	told.method = (char *)method_rows[call->method].name;
	told.has_time_ns = told.has_level = true;
	told.time_ns = (int64_t)clock_ns(CLOCK_REALTIME);
	told.level = call->error->code == POSTERN__V1__CODE__DATA_LOSS ||
				     call->error->code == POSTERN__V1__CODE__UNAVAILABLE
			     ? POSTERN__V1__ERROR_LEVEL__ERROR_LEVEL_CRITICAL
			     : POSTERN__V1__ERROR_LEVEL__ERROR_LEVEL_ERROR;
	told.description = call->error->message;
	told.has_sys_errno = call->error->has_sys_errno;
	told.sys_errno = call->error->sys_errno;
	told.has_disk = true;
	told.disk = *disk;
	told.has_path = path != NULL;
	if (path)
		told.path = *path;
	worker_notify(call, TOPIC_error, &told.base);
	return r;
}

static void put_part(ProtobufCMessage *message, const struct file_part *part)
{
	Postern__V1__DisksListFilesReply *reply = (Postern__V1__DisksListFilesReply *)message;

	reply->files = part->entries;
	reply->n_files = part->n;
	reply->problems = part->problems;
	reply->n_problems = part->n_problems;
}

int disks_list_files(struct call *call, const Postern__V1__DisksListFilesRequest *request,
	Postern__V1__DisksListFilesReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	struct file_listing listing = {.reply = &reply->base, .put = put_part};
	int r = disk_place_open(call, request->has_disk, &request->disk, request->has_path,
		&request->path, TOUCH_LOOK, &place);

	if (r == 0)
		r = file_list(call, &place, request->recursive, &listing);
	reply->has_count = reply->has_more_problems = true;
	reply->count = listing.count;
	reply->more_problems = listing.left_out;
	return disk_tell_error(call, r, &request->disk, &request->path);
}

static void put_data(ProtobufCMessage *message, ProtobufCBinaryData *data, bool last, bool end)
{
	Postern__V1__DisksReadFileReply *reply = (Postern__V1__DisksReadFileReply *)message;

	reply->data = data;
	reply->n_data = data->len > 0;
	reply->has_end = last;
	reply->end = end;
}

int disks_read_file(struct call *call, const Postern__V1__DisksReadFileRequest *request,
	Postern__V1__DisksReadFileReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	struct file_reading reading = {.offset = request->offset,
		.length = request->has_length ? request->length : READ_DEFAULT,
		.reply = &reply->base,
		.put = put_data};
	int r = disk_place_open(call, request->has_disk, &request->disk, request->has_path,
		&request->path, TOUCH_LOOK, &place);

	if (r == 0)
		r = file_read(call, &place, &reading);
	return disk_tell_error(call, r, &request->disk, &request->path);
}

int disks_get_file_footprint(struct call *call,
	const Postern__V1__DisksGetFileFootprintRequest *request,
	Postern__V1__DisksGetFileFootprintReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	const char *algorithm = NULL;
	int r = disk_place_open(call, request->has_disk, &request->disk, request->has_path,
		&request->path, TOUCH_LOOK, &place);

	if (r == 0)
		r = file_footprint(call, &place, request->algorithm, &reply->footprint, &algorithm,
			&reply->size);
	reply->algorithm = (char *)algorithm;
	reply->has_size = true;
	return disk_tell_error(call, r, &request->disk, &request->path);
}

static void tell_new_file(struct call *call, const ProtobufCBinaryData *disk,
	const struct file_place *place, const struct file_copying *copying, bool copied)
{
	Postern__V1__NotifyDisksNewFile told = POSTERN__V1__NOTIFY_DISKS_NEW_FILE__INIT;

	told.has_disk = told.has_path = told.has_size = true;
	told.disk = *disk;
	told.path = call_text(call, place->below);
	told.size = copying->size;
	told.source_footprint = copied ? copying->source_footprint : NULL;
	told.footprint = copying->footprint;
	told.algorithm = (char *)digest_name(copying->algorithm);
	worker_notify(call, TOPIC_disks_new_file, &told.base);
}

int disks_copy_file(struct call *call, const Postern__V1__DisksCopyFileRequest *request,
	Postern__V1__DisksCopyFileReply *reply)
{
	AUTO_FILE_PLACE struct file_place from = FILE_PLACE_NONE;
	AUTO_FILE_PLACE struct file_place to = FILE_PLACE_NONE;
	struct file_copying copying = {.algorithm = file_algorithm(call, request->algorithm),
		.replace = request->replace,
		.verify = request->verify};
	const ProtobufCBinaryData *target_path =
		request->has_target_path ? &request->target_path : &request->path;
	AUTO_CLOSE int fd = -EBADF;
	int r;

	if (!copying.algorithm)
		return -EINVAL;
	r = disk_place_open(call, request->has_source_disk, &request->source_disk,
		request->has_path, &request->path, TOUCH_LOOK, &from);
	if (r == 0)
		r = file_open_regular(call, &from, O_RDONLY, &fd);
	if (r < 0)
		return disk_tell_error(call, r, &request->source_disk, &request->path);
	r = disk_place_open(call, request->has_target_disk, &request->target_disk, true,
		target_path, TOUCH_WRITE, &to);
	/* From here on it may hang on either. */
	worker_touch_done(call);
	copying.source = from.path;
	if (r == 0)
		r = file_copy(call, fd, NULL, &to, &copying);
	if (copying.unreadable)
		return disk_tell_error(call, r, &request->source_disk, &request->path);
	if (r < 0)
		return disk_tell_error(call, r, &request->target_disk, target_path);
	tell_new_file(call, &request->target_disk, &to, &copying, true);
	reply->footprint = copying.footprint;
	reply->algorithm = (char *)digest_name(copying.algorithm);
	reply->has_size = true;
	reply->size = copying.size;
	return 0;
}

int disks_create_file(struct call *call, const Postern__V1__DisksCreateFileRequest *request,
	Postern__V1__DisksCreateFileReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	struct file_copying copying = {
		.algorithm = file_algorithm(call, request->algorithm), .replace = request->replace};
	int r;

	if (!copying.algorithm)
		return -EINVAL;
	r = disk_place_open(call, request->has_disk, &request->disk, request->has_path,
		&request->path, TOUCH_WRITE, &place);
	if (r == 0)
		r = file_copy(call, -EBADF, &request->data, &place, &copying);
	if (r < 0)
		return disk_tell_error(call, r, &request->disk, &request->path);
	worker_touch_done(call);
	tell_new_file(call, &request->disk, &place, &copying, false);
	reply->footprint = copying.footprint;
	reply->algorithm = (char *)digest_name(copying.algorithm);
	return 0;
}

int disks_remove_file(struct call *call, const Postern__V1__DisksRemoveFileRequest *request,
	Postern__V1__DisksRemoveFileReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	int r = disk_place_open(call, request->has_disk, &request->disk, request->has_path,
		&request->path, TOUCH_WRITE, &place);

	if (r == 0)
		r = file_remove(call, &place, request->recursive, &reply->removed);
	reply->has_removed = true;
	return disk_tell_error(call, r, &request->disk, &request->path);
}
