//! A cursor over received bytes whose getters name what they read, so that every refusal says where.
