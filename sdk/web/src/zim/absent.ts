import { Code } from '../protocol.js';

// Methods of the public package that have nothing to do with call
// invitations, in the order of its documentation.
const NAMES = [
  'callExperimentalAPI', 'updateUserName', 'updateUserAvatarUrl', 'updateUserExtendedData', 'updateUserOfflinePushRule',
  'updateUserCustomStatus', 'updateUserBadge', 'queryUsersInfo', 'queryUsersStatus', 'querySelfUserInfo', 'subscribeUsersStatus',
  'unsubscribeUsersStatus', 'querySubscribedUserStatusList', 'queryConversationList', 'queryConversation',
  'queryConversationPinnedList', 'updateConversationPinnedState', 'deleteConversation', 'deleteAllConversations',
  'clearConversationUnreadMessageCount', 'clearConversationTotalUnreadMessageCount', 'queryConversationTotalUnreadMessageCount',
  'setConversationNotificationStatus', 'sendConversationMessageReceiptRead', 'setConversationDraft', 'setConversationMark',
  'searchLocalConversations', 'sendMessage', 'sendPeerMessage', 'sendRoomMessage', 'sendGroupMessage', 'sendMediaMessage',
  'queryHistoryMessage', 'queryMessages', 'deleteMessages', 'deleteAllMessage', 'deleteAllConversationMessages',
  'insertMessageToLocalDB', 'sendMessageReceiptsRead', 'queryMessageReceiptsInfo', 'revokeMessage',
  'updateMessageLocalExtendedData', 'editMessage', 'cancelSendingMessage', 'searchLocalMessages', 'searchGlobalLocalMessages',
  'addMessageReaction', 'deleteMessageReaction', 'deleteMessageAllReactions', 'queryMessageReactionUserList',
  'queryCombineMessageDetail', 'replyMessage', 'queryMessageRepliedList', 'pinMessage', 'queryPinnedMessageList', 'createRoom',
  'joinRoom', 'enterRoom', 'switchRoom', 'leaveRoom', 'leaveAllRoom', 'queryRoomMemberList', 'queryRoomMembers',
  'queryRoomOnlineMemberCount', 'setRoomAttributes', 'deleteRoomAttributes', 'beginRoomAttributesBatchOperation',
  'endRoomAttributesBatchOperation', 'queryRoomAllAttributes', 'setRoomMembersAttributes', 'queryRoomMembersAttributes',
  'queryRoomMemberAttributesList', 'createGroup', 'dismissGroup', 'joinGroup', 'leaveGroup', 'inviteUsersIntoGroup',
  'kickGroupMembers', 'transferGroupOwner', 'queryGroupInfo', 'queryGroupMemberInfo', 'queryGroupList', 'queryGroupMemberList',
  'queryGroupMemberCount', 'updateGroupName', 'updateGroupAvatarUrl', 'updateGroupNotice', 'updateGroupAlias',
  'updateGroupJoinMode', 'updateGroupInviteMode', 'updateGroupBeInviteMode', 'setGroupAttributes', 'deleteGroupAttributes',
  'queryGroupAttributes', 'queryGroupAllAttributes', 'setGroupMemberRole', 'setGroupMemberNickname', 'muteGroup',
  'muteGroupMembers', 'queryGroupMemberMutedList', 'queryGroupMessageReceiptReadMemberList',
  'queryGroupMessageReceiptUnreadMemberList', 'searchLocalGroups', 'searchLocalGroupMembers', 'sendGroupJoinApplication',
  'acceptGroupJoinApplication', 'rejectGroupJoinApplication', 'sendGroupInviteApplications', 'acceptGroupInviteApplication',
  'rejectGroupInviteApplication', 'queryGroupApplicationList', 'addFriend', 'deleteFriends', 'checkFriendsRelation',
  'updateFriendAlias', 'updateFriendAttributes', 'queryFriendsInfo', 'queryFriendList', 'searchLocalFriends',
  'sendFriendApplication', 'acceptFriendApplication', 'rejectFriendApplication', 'queryFriendApplicationList',
  'addUsersToBlacklist', 'removeUsersFromBlacklist', 'queryBlacklist', 'checkUserIsInBlacklist',
] as const;

export type AbsentMethods = Record<(typeof NAMES)[number], AbsentMethod>;

/** A method that is not part of Ringback: it rejects with code 6000001. */
export type AbsentMethod = (...args: unknown[]) => Promise<never>;

/** Gives a class the methods that it does not have, each of which rejects. */
export function addAbsent(prototype: object): void {
  for (const name of NAMES) {
    Object.defineProperty(prototype, name, {
      configurable: true,
      writable: true,
      value: () => Promise.reject({ code: Code.InvalidParameter, message: `${name} is not part of Ringback` }),
    });
  }
}
